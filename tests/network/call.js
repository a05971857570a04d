// What a page does in a test: calls, each by its index in `calls`. None of it is the server's code.
"use strict";
{
  const calls = [];
  const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

  const until = (condition, target, event) =>
    new Promise((done) => {
      const look = () => condition() && (target.removeEventListener(event, look), done());
      target.addEventListener(event, look);
      look();
    });

  const post = (path, sdp) => {
    const headers = { "content-type": "application/sdp" };
    return fetch(path, { method: "POST", headers, body: sdp });
  };

  // A connection that has made its offer.
  const prepare = async (media) => {
    const connection = new RTCPeerConnection();
    const call = { connection, tracks: {}, candidates: [], own: [] };
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.candidate) call.candidates.push(candidate);
    });
    connection.addEventListener("track", ({ track }) => (call.tracks[track.kind] = track));
    const gives = Object.keys(media).filter((kind) => media[kind].startsWith("send"));
    if (gives.length) {
      const wanted = { audio: PLAIN, video: { width: 640, height: 480 } };
      const stream = await navigator.mediaDevices.getUserMedia(
        Object.fromEntries(gives.map((kind) => [kind, wanted[kind]])),
      );
      call.own = stream.getTracks();
    }
    for (const [kind, direction] of Object.entries(media)) {
      const own = call.own.find((track) => track.kind === kind);
      connection.addTransceiver(own ?? kind, { direction });
    }
    call.offer = await connection.createOffer();
    await connection.setLocalDescription(call.offer);
    return call;
  };

  const hangUp = (call) => {
    call.connection.close();
    for (const track of call.own) track.stop();
  };

  // The candidates so far, as RFC 8840 and RFC 9725 §4.3.1 have them.
  const fragment = (call) => {
    const own = call.connection.localDescription.sdp.split("\r\n");
    const said = (name) => own.find((line) => line.startsWith(name));
    const lines = [said("a=ice-ufrag:"), said("a=ice-pwd:"), said("m="), said("a=mid:")];
    for (const { candidate } of call.candidates) lines.push(`a=${candidate}`);
    return lines.concat("a=end-of-candidates", "").join("\r\n");
  };

  const statistics = async (call, type, kind) => {
    for (const entry of (await call.connection.getStats()).values()) {
      if (entry.type === type && entry.kind === kind) return entry;
    }
    return null;
  };

  window.test = {
    // media: {audio: direction, video: direction}; trickle: candidates go by PATCH, not in the offer.
    async begin(path, media, { trickle = false } = {}) {
      const call = await prepare(media);
      const { connection } = call;
      const gathered = until(
        () => connection.iceGatheringState === "complete",
        connection,
        "icegatheringstatechange",
      );
      if (!trickle) await gathered;
      const response = await post(path, (trickle ? call.offer : connection.localDescription).sdp);
      const answer = await response.text();
      if (response.status !== 201) throw new Error(`${path}: ${response.status} ${answer}`);
      call.told = {
        location: response.headers.get("location"),
        etag: response.headers.get("etag"),
        link: response.headers.get("link"),
      };
      if (trickle) {
        await gathered;
        const patched = await fetch(call.told.location, {
          method: "PATCH",
          headers: {
            "content-type": "application/trickle-ice-sdpfrag",
            "if-match": call.told.etag,
          },
          body: fragment(call),
        });
        call.told.patched = patched.status;
      }
      await connection.setRemoteDescription({ type: "answer", sdp: answer });
      return calls.push(call) - 1;
    },

    // Offer where that is refused.
    async refusal(path, media) {
      const call = await prepare(media);
      const { status, headers } = await post(path, call.offer.sdp);
      hangUp(call);
      return { status, retryAfter: headers.get("retry-after") };
    },

    // Begin, and be connected.
    async call(path, media, options) {
      const index = await test.begin(path, media, options);
      const { connection } = calls[index];
      await until(
        () => connection.connectionState === "connected",
        connection,
        "connectionstatechange",
      );
      return index;
    },

    callAll: (paths, media) => Promise.all(paths.map((path) => test.call(path, media))),

    told: (index) => calls[index].told,
    fragment: (index) => fragment(calls[index]),
    state: (index) => calls[index].connection.connectionState,

    // Whether the other side has said that it is over (DTLS close_notify). The state of the
    // connection tells it only when no consent has come for 15 seconds.
    isClosed: (index) =>
      calls[index].connection.getTransceivers()[0].receiver.transport.state === "closed",

    // Hear the track from now on.
    async listen(index) {
      const stream = new MediaStream([calls[index].tracks.audio]);
      const element = new Audio(); // without one, Chromium takes nothing from the connection
      element.srcObject = stream;
      element.muted = true;
      element.play();
      const context = new AudioContext({ sampleRate: 48000 });
      const recorder = context.createScriptProcessor(4096, 1, 1);
      const heard = (calls[index].heard = []);
      recorder.onaudioprocess = ({ inputBuffer }) =>
        heard.push(inputBuffer.getChannelData(0).slice());
      context.createMediaStreamSource(stream).connect(recorder);
      recorder.connect(context.destination);
      await context.resume();
    },

    // The last so many seconds, as 16 bits, in base64.
    async heard(index, seconds) {
      const { heard } = calls[index];
      while (heard.length < (seconds * 48000) / 4096) {
        await new Promise((done) => setTimeout(done, 50));
      }
      const last = heard.slice(-Math.ceil((seconds * 48000) / 4096));
      const samples = Int16Array.from(
        last.flatMap((block) => [...block].map((x) => Math.max(-1, Math.min(x, 1)) * 32767)),
      );
      const bytes = new Uint8Array(samples.buffer);
      let text = "";
      for (const byte of bytes) text += String.fromCharCode(byte);
      return btoa(text);
    },

    // getStats' entry on what comes in, or goes out.
    inbound: (index, kind) => statistics(calls[index], "inbound-rtp", kind),
    outbound: (index, kind) => statistics(calls[index], "outbound-rtp", kind),

    hangUp: (index) => hangUp(calls[index]),
  };
}
