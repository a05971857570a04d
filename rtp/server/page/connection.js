// One WebRTC connection, offered to a URL: POST begins a session, DELETE ends it (RFC 9725, WHEP).

import { ask, reason } from "./stream.js";

const GATHERING = 2000; // ms that candidates may take; what is found later is not offered
const ANSWER = 15000; // ms for the server to answer an offer
const FAREWELL = 3000; // ms that a server has to end a session before the connection just closes
const CONNECTING = 20000; // ms from the answer until media may flow

/** The server said no; `status` is HTTP's. */
export class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export class Connection {
  #session = null; #timer = 0; #closed = false; #ended = null;

  /** tell(state, why) is called with "connecting", "connected", "interrupted", "lost"; "lost" is the last. */
  constructor(url, tell) {
    this.url = url;
    this.tell = tell;
    this.peer = new RTCPeerConnection();
    this.peer.onconnectionstatechange = () => this.#follow();
  }

  /** Offer what the peer connection was given. Returns the response, for its headers. Throws Refusal, TypeError. */
  async open() {
    this.tell("connecting", "");
    try {
      await this.peer.setLocalDescription(await this.peer.createOffer());
      await gathered(this.peer);
      if (this.#closed) throw new Error("closed");
      const response = await this.#post();
      if (this.#closed) throw new Error("closed");
      await this.peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
      this.#timer = setTimeout(() => this.#lose("No media came through. A firewall may block UDP between you and the server."), CONNECTING);
      this.#watchTransport();
      this.#follow();
      return response;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Ends the session too, with a request that outlives the page. Returns when the server knows. */
  close() {
    if (!this.#closed) {
      this.#closed = true;
      clearTimeout(this.#timer);
      this.peer.onconnectionstatechange = this.peer.ontrack = null;
    }
    if (this.#session) this.#ended = this.#end(this.#session);
    else if (!this.#ended) this.peer.close();
    this.#session = null;
    return this.#ended;
  }

  /** Close a connection whose session the server has ended. */
  drop() {
    this.#session = null;
    this.close();
  }

  /** The session first: a peer that just closes has ended it too, and then there is none to DELETE. */
  async #end(session) {
    const timer = setTimeout(() => this.peer.close(), FAREWELL);
    await ask(session, { method: "DELETE", keepalive: true }).catch(() => {});
    clearTimeout(timer);
    this.peer.close();
  }

  async #post() {
    const abort = new AbortController(), timer = setTimeout(() => abort.abort(), ANSWER);
    try {
      const headers = { "content-type": "application/sdp", accept: "application/sdp" };
      const response = await ask(this.url, { method: "POST", body: this.peer.localDescription.sdp, headers, signal: abort.signal });
      if (!response.ok) throw new Refusal(response.status, await reason(response));
      this.#session = new URL(response.headers.get("location"), location.href).href;
      return response;
    } finally {
      clearTimeout(timer);
    }
  }

  #follow() {
    const state = this.peer.connectionState;
    if (this.#closed) return;
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.tell("connected", "");
    }
    if (state === "disconnected") this.tell("interrupted", "");
    if (state === "failed") this.#lose("Nothing comes from the server any more. It may be gone, or your network has changed.");
  }

  /** A server that ends a session says so in DTLS, of which connectionState tells nothing. */
  #watchTransport() {
    const [end] = this.peer.getTransceivers(), transport = end?.receiver.transport ?? end?.sender.transport;
    transport?.addEventListener?.("statechange", () => {
      if (transport.state !== "closed" || this.#closed) return;
      this.drop();
      this.tell("lost", "The server has ended the session.");
    });
  }

  #lose(why) {
    if (this.#closed) return;
    this.close();
    this.tell("lost", why);
  }
}

function gathered(peer) {
  return new Promise((proceed) => {
    const timer = setTimeout(done, GATHERING);
    peer.addEventListener("icegatheringstatechange", check);
    function done() {
      clearTimeout(timer);
      peer.removeEventListener("icegatheringstatechange", check);
      proceed();
    }
    function check() {
      if (peer.iceGatheringState === "complete" || peer.signalingState === "closed") done();
    }
    check();
  });
}
