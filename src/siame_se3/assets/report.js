// Of reports: paths that can be turned, curves with a cursor, a table that sorts and chooses a run. No library, no network.
"use strict";
(() => {
  const element = document.getElementById("data");
  const data = element ? JSON.parse(element.textContent) : null;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const state = { run: data && data.runs.length ? data.runs.findIndex((r) => r.run === data.shown) : -1, at: data && data.at !== undefined ? data.at : 1 };
  const redraws = [];
  const redraw = () => requestAnimationFrame(() => redraws.forEach((draw) => draw()));

  // A canvas as sharp as the screen: its context, width and height in CSS pixels.
  function sheet(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const w = canvas.clientWidth, h = canvas.clientHeight;
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio);
      canvas.height = Math.round(h * ratio);
    }
    const c = canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, w, h);
    return { c, w, h, ratio };
  }

  // -- paths in space ---------------------------------------------------------------------------------------------------

  function space(canvas) {
    const view = { turn: 0.55, tilt: 1.05, zoom: 1 };
    const points = data.runs.flatMap((r) => r.path).concat(data.others.flatMap((o) => o.path), data.goals);
    if (data.print) {
      const x = data.print.width / 2, y = data.print.height / 2;
      points.push([-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]);
    }
    const low = [0, 1, 2].map((k) => Math.min(...points.map((p) => p[k])));
    const high = [0, 1, 2].map((k) => Math.max(...points.map((p) => p[k])));
    const middle = low.map((x, k) => (x + high[k]) / 2);
    const size = Math.max(0.05, Math.hypot(...low.map((x, k) => high[k] - x)));
    // What is to be seen whole, however it is turned: no more points than that needs.
    const outline = points.filter((_, k) => k % Math.ceil(points.length / 600) === 0 || k >= points.length - 4);
    data.runs.slice(0, 20).forEach((r) => [r.path[0], r.path[r.path.length - 1]].forEach((p) => {
      for (const side of [-0.07, 0.07]) outline.push([p[0] + side * size, p[1], p[2]], [p[0], p[1] + side * size, p[2]], [p[0], p[1], p[2] + side * size]);
    }));
    let picture = null;
    if (data.print && data.print.image) {
      picture = new Image();
      picture.onload = redraw;
      picture.src = data.print.image;
    }

    function projector(w, h) {
      const a = view.turn, e = view.tilt, far = 2.4 * size;
      const ca = Math.cos(a), sa = Math.sin(a), ce = Math.cos(e), se = Math.sin(e);
      const flat = (p) => {
        const x0 = p[0] - middle[0], y0 = p[1] - middle[1], z = p[2] - middle[2];
        const x = ca * x0 - sa * y0, y = sa * x0 + ca * y0;
        const depth = Math.max(0.05 * size, far - se * y + ce * z);
        return [x / depth, (ce * y + se * z) / depth];
      };
      const seen = outline.map(flat);
      const [left, right] = [Math.min(...seen.map((q) => q[0])), Math.max(...seen.map((q) => q[0]))];
      const [top, bottom] = [Math.min(...seen.map((q) => q[1])), Math.max(...seen.map((q) => q[1]))];
      const f = 0.9 * view.zoom * Math.min(w / Math.max(1e-9, right - left), h / Math.max(1e-9, bottom - top));
      const project = (p) => {
        const q = flat(p);
        return [w / 2 + f * (q[0] - (left + right) / 2), h / 2 + f * (q[1] - (top + bottom) / 2)];
      };
      project.scale = f / far; // pixels a unit, in the middle of what is shown
      canvas.dataset.scale = project.scale;
      return project;
    }

    // A bar of 1, 2 or 5 times a power of ten, and how long it is in the middle: what is nearer looks longer.
    function bar(c, scale, w, h) {
      const most = w / 4 / scale, power = 10 ** Math.floor(Math.log10(most));
      const long = [5, 2, 1].map((m) => m * power).find((x) => x <= most * 1.000001);
      const [unit, factor] = data.unit ? [data.unit, 1] : long < 0.01 ? ["mm", 1e3] : long < 1 ? ["cm", 1e2] : ["m", 1];
      const right = w - 12, left = right - long * scale, y = h - 12;
      c.strokeStyle = colour("ink"); c.lineWidth = 1.5; c.beginPath();
      c.moveTo(left, y - 4); c.lineTo(left, y); c.lineTo(right, y); c.lineTo(right, y - 4); c.stroke();
      c.fillStyle = colour("ink"); c.font = "12px system-ui, sans-serif"; c.textAlign = "right";
      c.fillText(`${+(long * factor).toPrecision(1)} ${unit} in the middle`, right, y - 8);
      c.textAlign = "left";
    }

    function line(c, project, path, style, width, alpha) {
      c.beginPath();
      path.forEach((p, k) => { const q = project(p); k ? c.lineTo(q[0], q[1]) : c.moveTo(q[0], q[1]); });
      c.strokeStyle = style; c.lineWidth = width; c.globalAlpha = alpha; c.lineJoin = "round";
      c.stroke();
      c.globalAlpha = 1;
    }

    function dot(c, project, p, style, radius) {
      const q = project(p);
      c.beginPath(); c.arc(q[0], q[1], radius, 0, 7); c.fillStyle = style; c.fill();
    }

    // The print in cells, each by the affine map of three of its corners.
    function ground(c, project, ratio) {
      const { width, height } = data.print, n = 12;
      const corner = (i, j) => project([(i / n - 0.5) * width, (j / n - 0.5) * height, 0]);
      if (!picture || !picture.complete || !picture.naturalWidth) {
        line(c, project, [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]].map(([x, y]) => [x * width, y * height, 0]), colour("line"), 1.5, 1);
        return;
      }
      const sw = picture.naturalWidth / n, sh = picture.naturalHeight / n;
      for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) {
        const [a, b, d] = [corner(i, j), corner(i + 1, j), corner(i, j + 1)];
        c.setTransform(ratio * (b[0] - a[0]), ratio * (b[1] - a[1]), ratio * (d[0] - a[0]), ratio * (d[1] - a[1]), ratio * a[0], ratio * a[1]);
        c.drawImage(picture, i * sw, j * sh, sw, sh, 0, 0, 1.03, 1.03);
      }
      c.setTransform(ratio, 0, 0, ratio, 0, 0);
    }

    // A camera as a pyramid; turned = quaternion (w, x, y, z).
    function frustum(c, project, p, turned, style, width) {
      if (!turned || !data.camera) return;
      const [w, x, y, z] = turned, d = 0.075 * size;
      const rotate = (v) => {
        const t = [2 * (y * v[2] - z * v[1]), 2 * (z * v[0] - x * v[2]), 2 * (x * v[1] - y * v[0])];
        return [v[0] + w * t[0] + y * t[2] - z * t[1], v[1] + w * t[1] + z * t[0] - x * t[2], v[2] + w * t[2] + x * t[1] - y * t[0]];
      };
      const [u, v] = data.camera;
      const corners = [[-u, -v], [u, -v], [u, v], [-u, v]].map(([a, b]) => {
        const r = rotate([a * d, b * d, d]);
        return [p[0] + r[0], p[1] + r[1], p[2] + r[2]];
      });
      corners.forEach((q, k) => {
        line(c, project, [p, q], style, width, 1);
        line(c, project, [q, corners[(k + 1) % 4]], style, width, 1);
      });
    }

    function draw() {
      const { c, w, h, ratio } = sheet(canvas), project = projector(w, h);
      const good = colour("blue"), bad = colour("red"), shown = data.runs[state.run];
      if (data.print) ground(c, project, ratio);
      bar(c, project.scale, w, h);
      data.others.forEach((o) => line(c, project, o.path, o.good ? good : bad, 1, o.good ? 0.25 : 0.7));
      data.runs.forEach((r, k) => {
        if (k !== state.run) line(c, project, r.path, r.good ? good : bad, 1, r.good ? 0.3 : 0.75);
        dot(c, project, r.path[0], r.good ? good : bad, 2);
      });
      data.goals.forEach((g) => dot(c, project, g, colour("green"), 2.5));
      if (!shown) return;
      line(c, project, shown.path, colour("orange"), 2.6, 1);
      if (shown.goal) frustum(c, project, shown.goal.p, shown.goal.q, colour("green"), 1.6);
      const k = Math.min(shown.path.length - 1, Math.round(state.at * (shown.path.length - 1)));
      frustum(c, project, shown.path[k], shown.turned && shown.turned[k], colour("orange"), 2);
      dot(c, project, shown.path[k], colour("orange"), 4);
      c.fillStyle = colour("soft"); c.font = "12px system-ui, sans-serif";
      c.fillText(data.frame, 8, h - 8);
    }

    let held = null, pinch = 0;
    const pointers = new Map();
    canvas.addEventListener("pointerdown", (e) => { pointers.set(e.pointerId, e); held = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointermove", (e) => {
      if (!pointers.has(e.pointerId)) return;
      pointers.set(e.pointerId, e);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()], apart = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        if (pinch) view.zoom *= apart / pinch;
        pinch = apart;
      } else {
        view.turn -= (e.clientX - held[0]) * 0.008;
        view.tilt = Math.min(1.55, Math.max(0, view.tilt - (e.clientY - held[1]) * 0.006));
      }
      held = [e.clientX, e.clientY];
      redraw();
    });
    const release = (e) => { pointers.delete(e.pointerId); pinch = 0; };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("wheel", (e) => {
      if (document.activeElement !== canvas) return; // the page scrolls until the paths are clicked
      e.preventDefault(); view.zoom *= Math.exp(-e.deltaY * 0.001); redraw();
    }, { passive: false });
    canvas.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: ["turn", 0.1], ArrowRight: ["turn", -0.1], ArrowUp: ["tilt", 0.08], ArrowDown: ["tilt", -0.08] }[e.key];
      if (step) { view[step[0]] += step[1]; view.tilt = Math.min(1.55, Math.max(0, view.tilt)); }
      else if (e.key === "+") view.zoom *= 1.15;
      else if (e.key === "-") view.zoom /= 1.15;
      else return;
      e.preventDefault(); redraw();
    });
    redraws.push(draw);
  }

  // -- curves -----------------------------------------------------------------------------------------------------------

  function ticks(low, high, log) {
    if (log) {
      const found = [];
      for (let e = Math.floor(low); e <= high; e++) [1, 2, 5].forEach((m) => found.push(e + Math.log10(m)));
      const inside = found.filter((e) => e >= low - 1e-9 && e <= high + 1e-9);
      const decades = inside.filter((e) => Math.abs(e - Math.round(e)) < 1e-9);
      return decades.length < 2 ? inside : decades.filter((_, k) => k % Math.ceil(decades.length / 5) === 0);
    }
    const raw = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const found = [];
    for (let x = Math.ceil(low / step) * step; x <= high + 1e-12; x += step) found.push(Math.abs(x) < step / 1e6 ? 0 : x);
    return found;
  }

  const shortened = (x) => (x === 0 ? "0" : Math.abs(x) >= 0.01 && Math.abs(x) < 1e4 ? String(+x.toPrecision(3)) : x.toExponential(1));

  function chart(canvas) {
    const spec = data.charts[+canvas.dataset.chart];
    let hover = null;

    function series() {
      const run = data.runs[state.run], found = [];
      if (!run) return found;
      spec.lines.forEach((l) => { if (run[l.of]) found.push({ ...l, y: l.axis === undefined ? run[l.of] : run[l.of].map((v) => v && v[l.axis]) }); });
      return found;
    }

    function draw() {
      const { c, w, h } = sheet(canvas), run = data.runs[state.run], lines = series();
      const left = 52, right = 10, top = w < 420 ? 36 : 22, bottom = 20; // in narrow windows the values are below the title
      const value = (y) => (spec.log ? (y > 0 ? Math.log10(y) : NaN) : y);
      const band = spec.band && data.bands[spec.band];
      const all = lines.flatMap((l) => l.y).concat(band ? band.low.concat(band.high) : []).map(value).filter(Number.isFinite);
      if (!run) return;
      if (!all.length) {
        c.font = "12px system-ui, sans-serif"; c.fillStyle = colour("ink"); c.fillText(spec.title, left, 13);
        c.fillStyle = colour("soft"); c.fillText("zero throughout, or not known", left, h / 2);
        return;
      }
      let low = Math.min(...all), high = Math.max(...all);
      if (spec.zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
      if (high - low < 1e-9) { low -= 0.5; high += 0.5; }
      const last = Math.max(1, run.k[run.k.length - 1], data.runs.length > 1 && data.bands.k ? data.bands.k[data.bands.k.length - 1] : 0);
      const X = (k) => left + ((w - left - right) * k) / last;
      const Y = (y) => top + (h - top - bottom) * (1 - (value(y) - low) / (high - low));
      c.font = "12px system-ui, sans-serif"; c.lineWidth = 1;
      ticks(low, high, spec.log).forEach((t) => {
        const y = top + (h - top - bottom) * (1 - (t - low) / (high - low));
        c.strokeStyle = colour("grid"); c.beginPath(); c.moveTo(left, y); c.lineTo(w - right, y); c.stroke();
        c.fillStyle = colour("soft"); c.textAlign = "right"; c.fillText(spec.log ? shortened(10 ** t) : shortened(t), left - 6, y + 4);
      });
      c.textAlign = "center"; c.fillStyle = colour("soft");
      ticks(0, last * data.dt, false).forEach((t) => c.fillText(shortened(t), X(t / data.dt), h - 5));
      c.textAlign = "right"; c.fillText("time [s]", left - 6, h - 5);
      c.textAlign = "left"; c.fillStyle = colour("ink"); c.fillText(spec.title, left, 13);
      if (band) {
        c.fillStyle = colour("band"); c.beginPath();
        band.high.forEach((y, k) => (k ? c.lineTo(X(data.bands.k[k]), Y(y)) : c.moveTo(X(data.bands.k[k]), Y(y))));
        for (let k = band.low.length - 1; k >= 0; k--) c.lineTo(X(data.bands.k[k]), Y(band.low[k]));
        c.fill();
        curve(c, band.middle.map((y, k) => [X(data.bands.k[k]), Y(y)]), colour("blue"), 1.6);
      }
      if (run.handoff >= 0) {
        c.setLineDash([3, 3]); c.strokeStyle = colour("soft"); c.beginPath(); c.moveTo(X(run.handoff), top); c.lineTo(X(run.handoff), h - bottom); c.stroke(); c.setLineDash([]);
      }
      lines.forEach((l) => curve(c, l.y.map((y, k) => [X(run.k[k]), y === null ? NaN : Y(y)]), colour(l.colour), 1.8));
      const at = hover === null ? state.at * run.k[run.k.length - 1] : ((hover - left) / (w - left - right)) * last;
      const k = run.k.reduce((best, x, i) => (Math.abs(x - at) < Math.abs(run.k[best] - at) ? i : best), 0);
      c.strokeStyle = colour("soft"); c.globalAlpha = 0.5; c.lineWidth = 1; c.beginPath(); c.moveTo(X(run.k[k]), top); c.lineTo(X(run.k[k]), h - bottom); c.stroke(); c.globalAlpha = 1;
      c.textAlign = "right";
      let x = w - right;
      [...lines].reverse().forEach((l) => {
        const text = (l.name ? l.name + " " : "") + (l.y[k] === null || l.y[k] === undefined ? "-" : shortened(l.y[k]));
        c.fillStyle = colour(l.colour); c.fillText(text, x, top - 9);
        x -= c.measureText(text).width + 12;
      });
    }

    function curve(c, points, style, width) {
      c.beginPath(); c.strokeStyle = style; c.lineWidth = width; c.lineJoin = "round";
      let pen = false;
      points.forEach(([x, y]) => { if (!Number.isFinite(y)) { pen = false; return; } pen ? c.lineTo(x, y) : c.moveTo(x, y); pen = true; });
      c.stroke();
    }

    canvas.addEventListener("pointermove", (e) => { hover = e.offsetX; redraw(); });
    canvas.addEventListener("pointerleave", () => { hover = null; redraw(); });
    redraws.push(draw);
  }

  // -- table and controls -----------------------------------------------------------------------------------------------

  function choose(index) {
    state.run = index;
    document.querySelectorAll("tr.on").forEach((row) => row.classList.remove("on"));
    const row = document.querySelector('tr[data-run="' + data.runs[index].run + '"]');
    if (row) row.classList.add("on");
    document.querySelectorAll(".which").forEach((span) => { span.textContent = data.runs[index].run; });
    redraw();
  }

  document.querySelectorAll("table.sorts").forEach((table) => {
    table.querySelectorAll("th").forEach((head, column) => {
      head.classList.add("sorts");
      head.tabIndex = 0;
      let up = false;
      const sort = () => {
        up = !up;
        const key = (row) => { const text = row.cells[column].textContent, x = parseFloat(text); return Number.isNaN(x) ? text : x; };
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [p, q] = [key(a), key(b)];
          const order = typeof p === typeof q ? (p < q ? -1 : p > q ? 1 : 0) : typeof p === "number" ? -1 : 1;
          return up ? order : -order;
        });
        table.tBodies[0].append(...rows);
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (e) => { if (e.key === "Enter") sort(); });
    });
  });
  if (!data) return;
  document.querySelectorAll("tr[data-run]").forEach((row) => {
    const index = data.runs.findIndex((r) => String(r.run) === row.dataset.run);
    if (index < 0) return;
    row.classList.add("has");
    row.addEventListener("click", () => choose(index));
  });
  const canvas = document.getElementById("paths");
  if (canvas && data.runs.length) space(canvas);
  document.querySelectorAll("canvas[data-chart]").forEach(chart);
  const slider = document.getElementById("at"), play = document.getElementById("play");
  if (slider) {
    slider.value = state.at;
    slider.addEventListener("input", () => { state.at = +slider.value; redraw(); });
    let timer = null;
    play.addEventListener("click", () => {
      if (timer) { clearInterval(timer); timer = null; play.textContent = "Play"; return; }
      if (state.at >= 1) state.at = 0;
      play.textContent = "Pause";
      const run = data.runs[state.run], seconds = Math.max(2, Math.min(8, data.dt * run.k[run.k.length - 1]));
      timer = setInterval(() => {
        state.at = Math.min(1, state.at + 0.04 / seconds);
        slider.value = state.at;
        redraw();
        if (state.at >= 1) { clearInterval(timer); timer = null; play.textContent = "Play"; }
      }, 40);
    });
  }
  if (state.run >= 0) choose(state.run);
  new ResizeObserver(redraw).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
})();
