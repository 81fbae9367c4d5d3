/** A call of which nothing left the client. */
export class Unsent extends Error {}

// What clients of the HTTP/2 proof met.
export class Tally {
  answered = 0;
  /** Sessions that were told to go. */
  told = 0;
  longestMs = 0;
  /** Calls that were refused before they were processed, and that the client did not ask again itself. */
  refused = 0;
  /** Calls that the client never sent, since it was told to go just before. */
  unsent = 0;
  problems = [];

  async counts(what, call) {
    const beganMs = performance.now();
    try {
      await call();
      this.answered += 1;
    } catch (error) {
      if (error instanceof Unsent) this.unsent += 1;
      else if (isRefusal(error)) this.refused += 1;
      else this.failed(what, error);
    }
    this.longestMs = Math.max(this.longestMs, performance.now() - beganMs);
  }

  failed(what, error) {
    if (this.problems.length < 100)
      this.problems.push(`${what}: ${error?.code ?? ''} ${error?.message ?? error}`);
  }
}

// Source: RFC 9113, section 8.7: it has not been processed, and may be sent again.
function isRefusal(error) {
  return error?.code === 'ERR_HTTP2_STREAM_ERROR' && error.message.includes('NGHTTP2_REFUSED_STREAM');
}
