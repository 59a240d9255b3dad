// Records a minute at most from the microphone, where the browser allows it; the kernel gets 16-bit samples, mono.
const MUSIC = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }; // those are for speech
function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button";
  button.style.width = "auto";
  el.append(button);
  let recorder;
  const tell = (state) => {
    for (const [name, value] of Object.entries(state)) model.set(name, value);
    model.save_changes();
  };
  const show = (going) => {
    button.textContent = going ? "Stop recording" : "Record a sound";
    button.title = going ? "End the recording, and take it as the sound" : "From the microphone, up to 60 s";
    button.classList.toggle("mod-active", going);
  };
  const take = async (parts) => {
    const context = new AudioContext();
    const sound = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
    context.close();
    const samples = Int16Array.from(sound.getChannelData(0), (x) => 32767 * Math.max(-1, Math.min(1, x)));
    tell({ rate: sound.sampleRate, samples: new DataView(samples.buffer) });
  };
  const record = async () => {
    if (!navigator.mediaDevices) throw new Error("the browser gives this page none");
    const stream = await navigator.mediaDevices.getUserMedia({ audio: MUSIC });
    const made = new MediaRecorder(stream, { audioBitsPerSecond: 256000 });
    const parts = [], end = setTimeout(() => made.stop(), 60000);
    made.ondataavailable = ({ data }) => parts.push(data);
    made.onstop = () => {
      clearTimeout(end);
      stream.getTracks().forEach((track) => track.stop());
      recorder = undefined;
      show(false);
      take(parts).catch((error) => tell({ problem: error.message }));
    };
    made.start();
    recorder = made;
    show(true);
  };
  button.onclick = () => {
    if (recorder) return recorder.stop();
    tell({ problem: "" });
    record().catch((error) => tell({ problem: error.message }));
  };
  show(false);
  return () => recorder?.stop();
}
export default { render };
