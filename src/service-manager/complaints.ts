/** Where it is said that something does not work, although the service does. */
export interface Complaints {
  warn(message: string): void;
}
