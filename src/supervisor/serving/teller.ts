/** Who is told how the service does: the service manager, where there is one. */
export interface Teller {
  /** Somebody accepts. @param answers whether the service answers. */
  accepting(answers: () => Promise<boolean>): void;
  /** Somebody serves, as was seen from outside. @param answers whether the service answers. */
  serving(status: string, answers: () => Promise<boolean>): void;
  /** Something that lasts is to be known. */
  tell(what: string): void;
  /** Whether somebody was said to serve before. */
  readonly isReady: boolean;
}
