/** An error with a status and the text that its client reads. */
export class HttpError extends Error {
  readonly statusCode: number;
  /** Time after which the client may try again, in seconds; null where that makes no sense. */
  readonly retryAfterS: number | null;

  constructor(statusCode: number, message: string, retryAfterS: number | null = null) {
    super(message);
    this.statusCode = statusCode;
    this.retryAfterS = retryAfterS;
  }
}
