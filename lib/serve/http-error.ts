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

/** Returns the body of an error in the shape of the protocol that a path is of: OpenAI's below /v1/. */
export function errorBody(url: string, status: number, message: string): object {
  if (!url.startsWith("/v1/")) return { error: message };
  return { error: { message, type: openAiType(status), param: null, code: status === 404 ? "not_found" : null } };
}

function openAiType(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "api_error";
}
