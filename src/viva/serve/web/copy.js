// Buttons that copy.

import { button } from "./element.js";
import { tell } from "./notices.js";
import { speak } from "./words.js";

const SHOWN = 1500; // milliseconds for which a button says that it has copied

/** A button that copies what `text` gives. */
export function copying(text) {
  const made = button("copy", async () => {
    try {
      await navigator.clipboard.writeText(text()); // there is none where the page came over plain HTTP from elsewhere
    } catch {
      tell("uncopied");
      return;
    }
    speak(made, "copied");
    setTimeout(() => speak(made, "copy"), SHOWN);
  });
  return made;
}
