// Being in a room: what the person says and shows goes out, the mix of all others comes in.

import { Connection } from "./connection.js";

export class Call {
  party = null; // our id in the room, once the server has answered
  state = "connecting"; // or connected, interrupted, lost
  #audio; #video = null;

  /**
   * microphone, camera: tracks, or null. Without a microphone one only listens; without a camera nobody sees.
   * tell(state, why) as in Connection; hear(stream) is given the mix.
   */
  constructor(room, name, { microphone, camera }, { tell, hear }) {
    const path = `/rooms/${encodeURIComponent(room)}?name=${encodeURIComponent(name)}`;
    this.connection = new Connection(path, (state, why) => { this.state = state; tell(state, why); });
    const { peer } = this.connection;
    this.#audio = peer.addTransceiver(microphone ?? "audio", { direction: microphone ? "sendrecv" : "recvonly" });
    if (camera) this.#video = peer.addTransceiver(camera, { direction: "sendonly" });
    this.speaks = Boolean(microphone);
    this.shows = Boolean(camera);
    peer.ontrack = ({ track }) => { if (track.kind === "audio") hear(new MediaStream([track])); };
  }

  async open() {
    const response = await this.connection.open();
    const link = /<([^>]*)>\s*;[^,]*rel="?describedby"?/.exec(response.headers.get("link") ?? "");
    if (link) this.party = decodeURIComponent(link[1].split("/").pop());
  }

  /** What is sent from now on; null: nothing. What was not offered cannot be sent: false then. */
  async send({ microphone, camera }) {
    if ((microphone && !this.speaks) || (camera && !this.shows)) return false;
    if (this.speaks) await this.#audio.sender.replaceTrack(microphone);
    if (this.shows) await this.#video.sender.replaceTrack(camera);
    return true;
  }

  close() {
    return this.connection.close();
  }
}
