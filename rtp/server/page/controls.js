// The buttons below the tiles, and the one that joins: each says what it would do now.

const $ = (id) => document.getElementById(id);

function label(button, text, off) {
  button.dataset.off = String(off);
  if (button.lastChild.textContent !== text) button.lastChild.textContent = text;
}

/** stage: lobby, joining, joined or lost; then what is open, what is chosen, and whether the browser was asked for it. */
export function showControls(stage, { microphone, camera, muted }, chosen, asked) {
  $("join").disabled = stage === "joining";
  $("join").textContent = stage === "joining" ? "Joining" : chosen.microphone ? "Join" : "Join and listen";
  $("preview").hidden = $("preview-hint").hidden = asked || !(chosen.microphone || chosen.camera);
  for (const id of ["mute", "camera-switch", "change"]) $(id).disabled = stage !== "joined";
  label($("mute"), !microphone ? "No mic" : muted ? "Unmute" : "Mute", !microphone || muted);
  label($("camera-switch"), camera ? "Stop video" : "Start video", !camera);
}
