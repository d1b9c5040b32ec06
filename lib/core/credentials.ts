// A user name and a password in a URL: browsers fetch no such URL, and errors are logged, so that no message has them.

const CREDENTIALS = /^(https?:\/\/)[^/?#]*@/i;

/** Returns a URL without user name and password, or with `instead` in their place. */
export function withoutCredentials(url: string, instead = ""): string {
  return url.replace(CREDENTIALS, `$1${instead}`);
}
