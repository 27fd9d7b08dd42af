"use strict";
(function () {
  var root = document.documentElement;
  root.classList.add("js");

  // Readouts: what the columns of plots say as tooltips goes to the line below them, and a
  // cursor shows where, in all plots that share the axis.
  document.querySelectorAll(".linked").forEach(function (area) {
    var out = area.querySelector(".readout");
    var plots = Array.prototype.filter.call(area.querySelectorAll("svg.plot"), function (p) { return p.querySelector(".hit"); });
    if (!out || !plots.length) { return; }
    area.querySelectorAll(".hit").forEach(function (hit) {
      var title = hit.querySelector("title");
      hit.setAttribute("data-text", title.textContent);
      title.remove();
    });
    function show(mid, text) {
      plots.forEach(function (p) {
        var c = p.querySelector(".cursor");
        c.setAttribute("x1", mid);
        c.setAttribute("x2", mid);
      });
      area.classList.toggle("reading", text !== "");
      out.textContent = text;
    }
    plots.forEach(function (p) {
      p.addEventListener("pointerover", function (e) {
        if (e.target.classList.contains("hit")) {
          show(e.target.getAttribute("data-mid"), e.target.getAttribute("data-text"));
        }
      });
      p.addEventListener("pointerleave", function () { show("0", ""); });
    });
  });

  // On paper everything is open, except long tables behind plots.
  var opened = [];
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details:not([open]):not(.long)").forEach(function (d) { d.open = true; opened.push(d); });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (d) { d.open = false; });
    opened = [];
  });

  var themes = document.querySelector(".themes"), button = themes.querySelector("button");
  var names = ["system", "light", "dark"], now = 0;
  themes.hidden = false;
  button.addEventListener("click", function () {
    now = (now + 1) % names.length;
    root.classList.remove("light", "dark");
    if (now > 0) { root.classList.add(names[now]); }
    button.textContent = "theme: " + names[now];
  });
})();
