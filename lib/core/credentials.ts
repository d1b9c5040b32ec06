// A user name and a password in a URL: browsers fetch no such URL, and errors are logged, so that no message has them.

/** Returns a URL without user name and password. */
export function withoutCredentials(url: string): string {
  return url.replace(/(?<=^\w+:\/\/)[^/]*@/, "");
}
