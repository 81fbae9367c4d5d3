import { subscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';

/** Responses of this process since it was asked to count, and those of them with a status of 5xx. */
export class ResponseCounter {
  responses = 0;
  errors = 0;

  start(): void {
    subscribe('http.server.response.finish', (message) => {
      const { response } = message as { response: ServerResponse };
      this.responses += 1;
      if (response.statusCode >= 500) this.errors += 1;
    });
  }
}
