// What the page says of the connection and of what went wrong, in sentences that say what to do.

import { Refusal } from "./connection.js";

const CALL = {
  connecting: ["waiting", "connecting"],
  connected: ["live", "connected"],
  interrupted: ["lost", "interrupted, waiting for it to come back"],
  lost: ["lost", "connection lost"],
};
const SERVER = {
  waiting: ["waiting", "connecting"],
  live: ["live", "ready"],
  lost: ["lost", "server cannot be reached, trying again"],
  locked: ["waiting", "locked"],
};

/** The state of the call, if there is one, and of the server: how good it is, and in words. */
export function status(call, server) {
  if (!call) return SERVER[server];
  if (call === "connected" && server === "lost") return ["waiting", "connected, but the list of people is not up to date"];
  return CALL[call];
}

/** Why one could not join. */
export function refusal(error) {
  if (error instanceof Refusal) {
    const detail = error.message.replace(/\.$/, "");
    if (error.status === 401) return "The server wants its token. Type it at the top of the page, then join again.";
    if (error.status === 503) return `The server is full just now: ${detail}. Wait a little, then try again.`;
    return `The server does not let you in: ${detail}. Change that, then try again.`;
  }
  if (error instanceof TypeError || error.name === "AbortError") return "The server cannot be reached. See that it is running and that you are online, then try again.";
  return `This browser could not connect: ${error.message}. Load the page again, or try another browser.`;
}

/** Who is in a room before one joins. */
export function company(named, count) {
  return count ? `${named} ${count === 1 ? "is" : "are"} there now.` : "Nobody is there yet.";
}
