// Server-sent events over fetch: EventSource cannot show a token.

const RETRY = 1500; // ms
let token = given() ?? sessionStorage.getItem("token") ?? "";

/** Of an invitation, /#token=...: what stands there is told to no server, and stays in no history. */
function given() {
  const text = new URLSearchParams(location.hash.slice(1)).get("token");
  if (text === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  sessionStorage.setItem("token", text.trim());
  return text.trim();
}

export function useToken(text) {
  token = text.trim();
  sessionStorage.setItem("token", token);
}

export function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  return fetch(path, { ...options, headers, cache: "no-store" });
}

/** The detail of a refused request, in words. */
export async function reason(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `the server answers ${response.status}`;
  }
}

/** Calls on(name, id, data) for each event, and state(name, why) as the connection changes; until the signal, if any. */
export async function follow(path, on, state, signal = undefined) {
  while (!signal?.aborted) {
    try {
      const response = await ask(path, { headers: { accept: "text/event-stream" }, signal });
      if (response.status === 401) {
        await new Promise((proceed) => state("locked", unlockWith(proceed)));
        continue;
      }
      if (!response.ok) throw new Error(await reason(response));
      state("live", "");
      await read(response.body.getReader(), on);
      state("lost", "the server has ended");
    } catch (error) {
      if (signal?.aborted) return;
      state("lost", error.message);
    }
    await new Promise((proceed) => setTimeout(proceed, RETRY));
  }
}

function unlockWith(proceed) {
  return (text) => { useToken(text); proceed(); };
}

async function read(reader, on) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const fields = Object.fromEntries(
        event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      if (fields.event) on(fields.event, Number(fields.id), JSON.parse(fields.data));
    }
  }
}
