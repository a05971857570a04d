// How good the connection is, in one line, from the statistics of the browser (W3C webrtc-stats).

const INTERVAL = 2000; // ms

export class Quality {
  #timer = 0; #before = null;

  /** show(text) is called with each line, and with "" at the end. */
  constructor(show) {
    this.show = show;
  }

  follow(peer) {
    this.stop();
    this.#timer = setInterval(async () => {
      const timer = this.#timer, line = this.#line(await peer.getStats());
      if (timer === this.#timer) this.show(line);
    }, INTERVAL);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#before = null;
    this.show("");
  }

  #line(stats) {
    const all = [...stats.values()], facts = [];
    const transport = all.find((s) => s.type === "transport" && s.selectedCandidatePairId);
    const pair = transport ? stats.get(transport.selectedCandidatePairId)
      : all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
    if (pair?.currentRoundTripTime !== undefined) facts.push(`${Math.round(pair.currentRoundTripTime * 1000)} ms round trip`);
    const heard = all.find((s) => s.type === "inbound-rtp" && s.kind === "audio");
    if (heard) {
      const now = { lost: heard.packetsLost, received: heard.packetsReceived }, { lost, received } = this.#before ?? { lost: 0, received: 0 };
      const gone = Math.max(0, now.lost - lost), came = now.received - received;
      if (came + gone > 0) facts.push(`${((100 * gone) / (came + gone)).toFixed(1)} % lost`);
      if (heard.jitter !== undefined) facts.push(`${Math.round(heard.jitter * 1000)} ms jitter`);
      this.#before = now;
    }
    return facts.join(" · ");
  }
}
