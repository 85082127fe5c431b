// How fast a reply comes, by this browser's clock.

/** Tokens counted, as they come; times in seconds. */
export class Speed {
  #began = performance.now();
  #first = null;
  #last = null;
  #counted = 0;

  /** Some tokens have come. */
  count(tokens) {
    this.#last = performance.now();
    this.#first ??= this.#last;
    this.#counted += tokens;
  }

  /** {tokens, first, rate}: how many (as the server counts them, where it has told), the time to the first, and tokens
   * a second from the first to the last. */
  told(counted = this.#counted) {
    if (this.#first === null) return null;
    const seconds = (this.#last - this.#first) / 1000;
    const rate = counted > 1 && seconds > 0 ? (counted - 1) / seconds : null;
    return { tokens: counted, first: (this.#first - this.#began) / 1000, rate };
  }
}
