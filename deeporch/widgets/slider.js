// A native range input with a name and a readout: reachable by keyboard, and read out by screen readers.
function render({ model, el }) {
  const id = "slider-" + Math.random().toString(36).slice(2);
  el.classList.add("deeporch-slider");
  el.innerHTML = `<label for="${id}"></label><input type="range" id="${id}"><output for="${id}"></output>`;
  const [label, input, output] = el.children;
  const show = () => {
    label.textContent = model.get("description");
    input.setAttribute("aria-label", model.get("title") || model.get("description"));
    for (const name of ["min", "max", "step"]) input[name] = model.get(name);
    if (document.activeElement !== input || Number(input.value) === model.get("value")) input.value = model.get("value");
    const names = model.get("names");
    const text = names[Number(input.value) - model.get("min")] ?? `${input.value}${model.get("unit")}`;
    output.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", () => {
    model.set("value", Number(input.value));
    model.save_changes();
    show();
  });
  input.addEventListener("blur", show);
  model.on("change", show);
  show();
  return () => model.off("change", show);
}
export default { render };
