// The mix of the room, heard: browsers may want a click first, and some let one choose the speaker.

export class Sound {
  /** refused(yes): whether a person must click before it can be heard; failed(sentence). */
  constructor(audio, { refused, failed }) {
    Object.assign(this, { audio, refused, failed });
  }

  async hear(stream) {
    this.audio.srcObject = stream;
    try {
      await this.audio.play();
      this.refused(false);
    } catch (error) {
      this.refused(error.name === "NotAllowedError"); // else a newer stream came between
    }
  }

  again() {
    return this.hear(this.audio.srcObject);
  }

  stop() {
    this.audio.srcObject = null;
    this.refused(false);
  }

  /** By a device id, or "default". */
  async through(speaker) {
    const id = speaker === "default" ? "" : speaker;
    if (!this.audio.setSinkId || this.audio.sinkId === id) return;
    try {
      await this.audio.setSinkId(id);
    } catch (error) {
      this.failed(`That speaker cannot be used: ${error.message}. Choose another.`);
    }
  }
}
