// JupyterLab takes arrows and Enter while no cell is being edited; within our widgets these keys belong to the control
// that has the focus.
function render({ el }) {
  el.style.display = "none";
  const adopt = () => {
    if (!el.isConnected) return requestAnimationFrame(adopt);
    el.closest(".deeporch-room")?.addEventListener("focusin", (event) =>
      event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  };
  adopt();
}
export default { render };
