/** Why a verification could not begin or go on. */
export type VerifyErrorCode =
  /** The service ended, or did not serve in time. */
  | 'MOULT_VERIFY_NOT_SERVING'
  /** The service serves, but has no TCP or Unix listener to send requests to. */
  | 'MOULT_VERIFY_NO_LISTENER'
  /** A command of moult gave something else than its documented JSON. */
  | 'MOULT_VERIFY_BAD_OUTPUT'
  /** It was called off before the service served. */
  | 'MOULT_VERIFY_INTERRUPTED';

/** A verification that could not be done, in contrast to one that found failures. */
export class VerifyError extends Error {
  override readonly name = 'VerifyError';
  readonly code: VerifyErrorCode;

  constructor(code: VerifyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
