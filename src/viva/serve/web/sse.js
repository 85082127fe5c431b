// Server-sent events of a response (https://html.spec.whatwg.org/multipage/server-sent-events.html).

/** The data of each event in a stream of bytes, as it comes. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const whole = (rest + value).split(/\r\n\r\n|\n\n|\r\r/);
      rest = whole.pop();
      for (const event of whole) {
        const data = dataOf(event);
        if (data) yield data;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // of a stream that is broken already
  }
}

function dataOf(event) {
  const lines = event.split(/\r\n|\n|\r/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice("data:".length).replace(/^ /, "")).join("\n");
}
