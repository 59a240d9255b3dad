// Several sounds behind one player: switching keeps the place, so that they can be compared while they play.
function render({ model, el }) {
  const group = "switch-" + Math.random().toString(36).slice(2);
  el.classList.add("deeporch-switch");
  el.innerHTML = `<fieldset><legend></legend><span></span></fieldset><audio controls preload="metadata"></audio>`;
  const [legend, choices] = el.querySelectorAll("legend, span");
  const audio = el.querySelector("audio");
  let urls = [];
  const pick = () => {
    const index = model.get("index"), at = audio.currentTime, playing = !audio.paused && !audio.ended;
    if (!urls[index]) return audio.removeAttribute("src");
    audio.src = urls[index];
    audio.setAttribute("aria-label", model.get("names")[index]);
    audio.addEventListener("loadedmetadata", () => {
      audio.currentTime = Math.min(at, audio.duration);
      if (playing) audio.play();
    }, { once: true });
    for (const input of choices.querySelectorAll("input")) input.checked = Number(input.value) === index;
  };
  const fill = () => {
    urls.forEach(URL.revokeObjectURL);
    urls = model.get("sounds").map((sound) => URL.createObjectURL(new Blob([sound], { type: model.get("kind") })));
    legend.textContent = model.get("description");
    choices.replaceChildren(...model.get("names").map((name, index) => {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: group, value: index });
      input.addEventListener("change", () => { model.set("index", index); model.save_changes(); });
      label.append(input, name);
      return label;
    }));
    pick();
  };
  model.on("change:sounds", fill);
  model.on("change:index", pick);
  fill();
  return () => { model.off("change:sounds", fill); model.off("change:index", pick); urls.forEach(URL.revokeObjectURL); };
}
export default { render };
