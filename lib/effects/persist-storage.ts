// What a page, and no worker, may ask of the browser's storage.

/**
 * Asks the browser to keep what is stored even where space runs short; Firefox asks the user. Gives what was granted.
 */
export async function persistStorage(): Promise<boolean> {
  const { storage } = navigator as Partial<Navigator>; // missing on pages that are not secure
  try {
    return (await storage?.persisted()) === true || (await storage?.persist()) === true;
  } catch {
    return false;
  }
}

/**
 * Asks the same where no user is asked for it: where it was granted before, and in the browsers that decide by
 * themselves, Chromium and WebKit. They say that the permission is to be asked for too, so they are told by their vendor,
 * which Firefox leaves empty.
 */
export async function keepQuietly(): Promise<void> {
  const { vendor, permissions } = navigator as Partial<Navigator>;
  let decidesItself = vendor !== undefined && vendor !== "";
  try {
    decidesItself ||= (await permissions?.query({ name: "persistent-storage" }))?.state === "granted";
  } catch {
    // a browser that does not know the permission by name
  }
  if (decidesItself) await persistStorage();
}
