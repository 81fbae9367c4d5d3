import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node';

/** A message of core NATS; one of the client, or one that a predecessor had no time for and has handed on. */
export type NatsMessage = Pick<Msg, 'subject' | 'data' | 'reply' | 'respond' | 'json' | 'string'> & {
  /** Headers that came with it. */
  readonly headers?: Pick<MsgHdrs, 'get' | 'has' | 'keys' | 'values' | 'last'>;
};

interface Head {
  readonly subject: string;
  readonly reply: string | undefined;
  readonly headers: readonly (readonly [string, readonly string[]])[];
}

const LENGTH_BYTES = 4;

/**
 * A message with its subject, reply and headers, as the payload of another: 4 bytes of length, a head in
 * JSON, the data.
 */
export function packed({ subject, reply, headers, data }: NatsMessage): Uint8Array {
  const head: Head = {
    subject,
    reply,
    headers: (headers?.keys() ?? []).map((key) => [key, headers?.values(key) ?? []] as const),
  };
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text, data]);
}

/** The message again; its answer goes to who asked. */
export function unpacked(bytes: Uint8Array, connection: NatsConnection): NatsMessage {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const dataAt = LENGTH_BYTES + all.readUInt32BE(0);
  const { subject, reply, headers } = JSON.parse(all.toString('utf8', LENGTH_BYTES, dataAt)) as Head;
  const data = new Uint8Array(all.subarray(dataAt));
  const string = () => new TextDecoder().decode(data);
  return {
    subject,
    data,
    string,
    json: (crashRecovery) => JSON.parse(string(), crashRecovery),
    ...(reply === undefined || reply === '' ? {} : { reply }),
    ...(headers.length === 0 ? {} : { headers: headersOf(headers) }),
    respond: (payload, options) => {
      if (reply === undefined || reply === '') return false;
      connection.publish(reply, payload, options);
      return true;
    },
  };
}

function headersOf(entries: Head['headers']): NonNullable<NatsMessage['headers']> {
  const all = new Map(entries.map(([key, values]) => [key, [...values]]));
  const values = (key: string) => all.get(key) ?? [];
  return {
    keys: () => [...all.keys()],
    has: (key) => all.has(key),
    values,
    get: (key) => values(key)[0] ?? '',
    last: (key) => values(key).at(-1) ?? '',
  };
}
