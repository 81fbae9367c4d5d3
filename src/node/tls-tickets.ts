import type { Server } from 'node:net';
import { Server as TlsServer } from 'node:tls';

/** What lets the clients of a TLS server resume their sessions with its successor. */
export interface TicketFacts {
  /** 48 bytes, base64. */
  readonly ticketKeys?: string | undefined;
  readonly sessionIdContext?: string | undefined;
}

interface TlsInsides {
  /** The option of this name, where the service has set it. Source: node lib/_tls_wrap.js, Server.prototype.setSecureContext. */
  ticketKeys?: unknown;
  sessionIdContext?: unknown;
  _sharedCreds?: { context?: { setSessionIdContext?(context: string): void } };
}

/** The ticket keys of a TLS server, and the context to which its sessions belong; nothing for other servers. */
export function offerTickets(server: Server): TicketFacts {
  if (!(server instanceof TlsServer)) return {};
  const { sessionIdContext } = server as unknown as TlsInsides;
  return {
    ticketKeys: server.getTicketKeys().toString('base64'),
    ...(typeof sessionIdContext === 'string' ? { sessionIdContext } : {}),
  };
}

/**
 * Takes the predecessor's keys over, unless the service has set the option `ticketKeys`. A session is only resumed in
 * the context in which it began, and the default context is a hash of the command line, which differs between two
 * releases: so the context goes along.
 * Source: node lib/_tls_wrap.js, Server.prototype.setSecureContext.
 */
export function resumeTickets(server: Server, facts: TicketFacts): void {
  if (!(server instanceof TlsServer) || facts.ticketKeys === undefined) return;
  const keys = Buffer.from(facts.ticketKeys, 'base64');
  const insides = server as unknown as TlsInsides;
  if (keys.length === 48 && insides.ticketKeys === undefined) server.setTicketKeys(keys);
  if (facts.sessionIdContext === undefined || insides.sessionIdContext === facts.sessionIdContext) return;
  insides.sessionIdContext = facts.sessionIdContext;
  insides._sharedCreds?.context?.setSessionIdContext?.(facts.sessionIdContext);
}
