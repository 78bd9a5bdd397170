// What a tab keeps of its session, so that a reloaded page comes back to it: the
// session's own secret, never the token. No DOM: the storage is given.

const KEY = "longshore.exec.session";

export class Kept {
  #storage;
  #page;

  /** @param storage a `Storage`, or `null` where there is none.
   * @param page what names the page; what another page of the site kept is not found. */
  constructor(storage, page) {
    this.#storage = storage;
    this.#page = page;
  }

  /** Keeps `{ session, secret, target }`; `false` when that can't be done. */
  keep({ session, secret, target }) {
    try {
      this.#storage.setItem(KEY, JSON.stringify({ page: this.#page, session, secret, target }));
      return true;
    } catch {
      return false;
    }
  }

  /** What was kept for this page, or `null`. */
  find() {
    try {
      const { page, session, secret, target } = JSON.parse(this.#storage.getItem(KEY));
      const whole = [session, secret, target].every((word) => typeof word === "string");
      return whole && page === this.#page ? { session, secret, target } : null;
    } catch {
      return null;
    }
  }

  drop() {
    try {
      this.#storage.removeItem(KEY);
    } catch {
      // Where nothing can be kept, nothing is.
    }
  }
}
