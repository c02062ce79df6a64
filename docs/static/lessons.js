// Ticks for the lessons that one has done, kept in this browser.
document.addEventListener("DOMContentLoaded", () => {
  const store = {
    get: name => { try { return localStorage.getItem("done:" + name); } catch { return null; } },
    set: (name, on) => { try { on ? localStorage.setItem("done:" + name, "1")
                                  : localStorage.removeItem("done:" + name); } catch {} },
  };
  const [, name] = location.pathname.match(/lessons\/(\w+)\.html$/) || [];
  if (name && name !== "index") {
    const label = document.createElement("label");
    label.className = "done";
    label.innerHTML = `<input type="checkbox" data-lesson="${name}"> I have done this lesson`;
    (document.querySelector("article[role=main], #furo-main-content") || document.body).append(label);
  }
  const show = name => document.querySelectorAll(`[data-lesson="${name}"]`).forEach(element => {
    if (element.type === "checkbox") element.checked = !!store.get(name);
    else element.classList.toggle("done", !!store.get(name));
  });
  for (const box of document.querySelectorAll("input[data-lesson]")) {
    show(box.dataset.lesson);
    box.addEventListener("change", () => {
      store.set(box.dataset.lesson, box.checked);
      show(box.dataset.lesson);
    });
  }
});
