// Ticks for the lessons that one has done, kept in this browser; figures and the playground.
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
  // A figure that is too small on a phone opens on its own.
  for (const image of document.querySelectorAll("img.sphx-glr-single-img")) {
    const link = document.createElement("a");
    link.href = image.src;
    link.title = "Open this figure on its own";
    image.replaceWith(link);
    link.append(image);
  }
  // The playground is as high as what is in it (read from a disk, it keeps the height of the style).
  for (const frame of document.querySelectorAll("iframe.playground")) {
    const fit = () => {
      const body = frame.contentDocument && frame.contentDocument.body;
      if (!body || !body.children.length) return;
      frame.style.height = `${body.offsetHeight}px`;
      new frame.contentWindow.ResizeObserver(() => {
        frame.style.height = `${body.offsetHeight}px`;
      }).observe(body);
    };
    frame.addEventListener("load", fit);
    if (frame.contentDocument && frame.contentDocument.readyState === "complete") fit();
  }
});
