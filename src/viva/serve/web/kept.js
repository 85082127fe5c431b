// What this browser remembers, as JSON in localStorage; where that is closed to the page or full, it goes on without.

/** The value of a key; `otherwise` where there is none, or none that can be read. */
export function recall(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Remember a value; false where that cannot be. Fields that begin with _ are for this page alone. */
export function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value, (field, told) => (field[0] === "_" ? undefined : told)));
    return true;
  } catch {
    return false;
  }
}

/** Forget a key. */
export function forget(key) {
  try {
    localStorage.removeItem(key);
  } catch {
    // where nothing can be kept, there is nothing to forget
  }
}

/** The keys that begin so. */
export function keys(prefix) {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return [];
  }
}
