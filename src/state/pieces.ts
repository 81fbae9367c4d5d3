import { MoultError } from '../errors.js';
import { MAX_PIECES } from '../protocol/limits.js';
import type { Piece, Want } from './piece.js';

/** The longest name of a piece. */
const MAX_PIECE_NAME = 256;

/** The pieces of state of one generation, by their names. */
export class Pieces {
  #pieces = new Map<string, Piece>();

  /** @throws MOULT_BAD_OPTION for a name that is taken or cannot be used. */
  declare(piece: Piece): void {
    const { name } = piece;
    if (name.length === 0 || name.length > MAX_PIECE_NAME) {
      const what = `expected a name of 1 to ${MAX_PIECE_NAME} characters, received ${name.length}`;
      throw new MoultError('MOULT_BAD_OPTION', `state: ${what}`);
    }
    if (this.#pieces.has(name))
      throw new MoultError('MOULT_BAD_OPTION', `state: ${name} is declared already`);
    if (this.#pieces.size === MAX_PIECES)
      throw new MoultError('MOULT_BAD_OPTION', `state: expected at most ${MAX_PIECES} pieces`);
    this.#pieces.set(name, piece);
  }

  get size(): number {
    return this.#pieces.size;
  }

  get(name: string): Piece | undefined {
    return this.#pieces.get(name);
  }

  all(): Piece[] {
    return [...this.#pieces.values()];
  }

  /** What this generation can take. */
  wants(): Want[] {
    return this.all().map((piece) => ({
      name: piece.name,
      min: piece.oldestVersion,
      max: piece.version,
      ...(piece.wantsLate ? { late: true } : {}),
    }));
  }

  /** Notes what changes from now on, for a predecessor that may have to serve again. */
  note(): void {
    for (const piece of this.all()) piece.note();
  }

  /** Notes no more. */
  forget(): void {
    for (const piece of this.all()) piece.forget();
  }
}
