// The live page. One stream of server-sent events says what there is; where the device shows its picture, a second one
// brings it. Both end while nobody looks at this tab.
const EMOTIONS = ["angry", "happy", "sad", "surprise", "neutral"];
const STAGES = ["detect", "landmarks", "chip", "classify"];
const VIVID = { angry: "#f06a6a", happy: "#f5c542", sad: "#5aa5ee", surprise: "#d37be6", neutral: "#a3bfa3", uncertain: "#b4bcc2" }; // on a picture
const BLIND = { starting: "starting", failed: "camera failed", paused: "paused", stopped: "stopped", black: "dark" };
const HIDDEN_S = 10, RETRY_S = 2, FULL_RETRY_S = 10;
const REGIONS = [[0, 17], [17, 22], [22, 27], [27, 31], [31, 36], [36, 42, true], [42, 48, true], [48, 60, true], [60, 68, true]];

const $ = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(share * 100)} %`;

let hello = null, status = null, scene = null, picture = null;
let spans = new Map(), clockOffset_s = 0; // device's monotonic clock minus this page's
let streams = null;

/** An element with a class, text or children; texts are never read as HTML. */
function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (key === "mood") element.style.setProperty("--mood", `var(--${value})`);
    else if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// Streams

async function watchEvents(signal) {
  const landmarks = $("show-landmarks").checked ? 1 : 0;
  const answer = await fetch(`/events?landmarks=${landmarks}`, { signal });
  if (answer.status === 401) return location.reload();
  if (answer.status === 503) {
    showCondition("full", "Too many viewers", `${await answer.text()}. This page tries again by itself.`);
    draw("Too many viewers");
    throw new RetryIn(FULL_RETRY_S);
  }
  if (!answer.ok) throw new Error(await answer.text());
  const text = new TextDecoder();
  let rest = "";
  for await (const chunk of read(answer)) {
    rest += text.decode(chunk, { stream: true });
    const messages = rest.split("\n\n");
    rest = messages.pop();
    for (const message of messages) {
      const [, name, data] = message.match(/^event: (\w+)\ndata: (.*)$/s);
      handlers[name](JSON.parse(data));
    }
  }
}

async function watchPicture(signal) {
  const answer = await fetch("/picture", { signal });
  if (!answer.ok) throw new RetryIn(FULL_RETRY_S);
  const bytes = new TextDecoder("latin1");
  let buffer = new Uint8Array(0);
  for await (const chunk of read(answer)) {
    const joined = new Uint8Array(buffer.length + chunk.length);
    joined.set(buffer); joined.set(chunk, buffer.length);
    buffer = joined;
    for (;;) {
      const head = bytes.decode(buffer.subarray(0, 200)).match(/Content-Length: (\d+)\r\nX-Scene: (\d+)\r\n\r\n/);
      if (!head) break;
      const start = head.index + head[0].length, end = start + Number(head[1]);
      if (buffer.length < end + 2) break;
      const bitmap = await createImageBitmap(new Blob([buffer.subarray(start, end)], { type: "image/jpeg" }));
      buffer = buffer.slice(end + 2);
      if (!scene) { bitmap.close(); continue; } // the camera has been closed meanwhile
      picture?.bitmap.close();
      picture = { number: Number(head[2]), bitmap };
      draw();
    }
  }
}

async function* read(answer) {
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

class RetryIn extends Error {
  constructor(seconds) { super(); this.seconds = seconds; }
}

function keep(watch, signal, onLost) {
  const again = (seconds) => { if (!signal.aborted) setTimeout(() => keep(watch, signal, onLost), seconds * 1000); };
  if (signal.aborted) return;
  watch(signal).then(() => { onLost(); again(RETRY_S); }, (error) => {
    if (signal.aborted) return;
    if (!(error instanceof RetryIn)) onLost();
    again(error.seconds ?? RETRY_S);
  });
}

function connect() {
  streams?.abort();
  streams = new AbortController();
  keep(watchEvents, streams.signal, lost);
}

function lost() {
  const last = status ? `The last news: ${status.condition.title.toLowerCase()}. ${status.condition.detail} ` : "";
  showCondition("lost", "No connection", `${last}This page tries again by itself.`);
  scene = null; forgetPicture(); draw("No connection"); showPeople();
  $("pause").disabled = true;
}

function forgetPicture() { picture?.bitmap.close(); picture = null; }

const handlers = {
  hello(news) {
    hello = news;
    $("version").textContent = `emotion-edge ${news.version}`;
    $("logout").hidden = !news.has_token;
    $("picture-note").textContent = news.picture
      ? "The camera’s picture is shown (web.picture = true). It is never stored, and goes to nobody but those who look at this page."
      : "The picture stays in the device. web.picture = true in its settings shows it here.";
    spans = new Map();
    if (news.picture) keep(watchPicture, streams.signal, () => {});
  },
  status(news) {
    status = news;
    clockOffset_s = news.now_s - performance.now() / 1000;
    showStatus();
  },
  history(news) {
    for (const span of news) spans.set(span.id, span);
    const old_s = performance.now() / 1000 + clockOffset_s - 3600;
    for (const [id, span] of spans) if (span.to_s !== null && span.to_s < old_s) spans.delete(id);
    showTimeline();
  },
  scene(news) {
    scene = news;
    if (!news) forgetPicture();
    if (!news || !hello.picture) draw();
    showPeople();
  },
  stuck() { showCondition("stuck", "Stuck", "The daemon does not answer; systemd restarts it."); },
  bye() { status = null; },
};

// What it sees

let cover = "";
function draw(text) {
  const canvas = $("canvas"), context = canvas.getContext("2d");
  const name = status?.condition.name;
  cover = text ?? (scene ? "" : { paused: "The camera is closed", starting: "Starting", no_camera: "No camera", camera_failed: "The camera has failed" }[name] ?? "");
  if ($("cover").textContent !== cover) $("cover").textContent = cover;
  const width = scene?.width ?? canvas.frameWidth ?? 640, height = scene?.height ?? canvas.frameHeight ?? 480;
  [canvas.frameWidth, canvas.frameHeight] = [width, height];
  const across = canvas.clientWidth || 640, dense = devicePixelRatio || 1, scale = across / width;
  const size = [Math.round(across * dense), Math.round(height * scale * dense)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  context.setTransform(dense, 0, 0, dense, 0, 0);
  if (picture) context.drawImage(picture.bitmap, 0, 0, across, height * scale);
  else drawEmpty(context, across, height * scale);
  for (const face of scene?.faces ?? []) drawFace(context, face, scale, across);
}

function drawEmpty(context, width, height) {
  context.fillStyle = "#10181d";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = "#22303a";
  context.lineWidth = 1;
  context.beginPath();
  for (let part = 1; part < 3; part++) {
    context.moveTo(width * part / 3, 0); context.lineTo(width * part / 3, height);
    context.moveTo(0, height * part / 3); context.lineTo(width, height * part / 3);
  }
  context.stroke();
}

function drawFace(context, face, scale, across) {
  const [x, y, width, height] = face.box.map((value) => value * scale);
  const colour = VIVID[face.emotion];
  context.globalAlpha = face.is_seen ? 1 : .6;
  if (face.landmarks) drawLandmarks(context, face.landmarks, scale);
  context.lineWidth = 2.5;
  context.strokeStyle = colour;
  context.setLineDash(face.is_seen ? [] : [6, 5]);
  context.beginPath(); context.roundRect(x, y, width, height, 6); context.stroke();
  context.setLineDash([]);
  context.font = "600 14px system-ui, sans-serif";
  context.textBaseline = "middle";
  const who = scene.faces.length > 1 ? `${face.face} · ` : "";
  const name = who + (face.is_seen ? `${face.emotion} ${percent(face.confidence)}` : `${face.emotion}, lost`), wide = context.measureText(name).width + 14;
  const left = Math.max(0, Math.min(x, across - wide)), top = y > 26 ? y - 26 : y + height + 2;
  context.fillStyle = colour;
  context.beginPath(); context.roundRect(left, top, wide, 24, 5); context.fill();
  context.fillStyle = "#0b1013";
  context.fillText(name, left + 7, top + 12.5);
  if ($("show-scores").checked && face.is_seen && width >= 70) drawScores(context, face, x, y, width, across);
  context.globalAlpha = 1;
}

function drawScores(context, face, x, y, width, across) {
  const wide = 118, row = 19, left = x + width + 6 + wide < across ? x + width + 6 : x - wide - 6;
  if (left < 0) return;
  context.font = "12px system-ui, sans-serif";
  EMOTIONS.forEach((emotion, index) => {
    const top = y + index * (row + 2);
    context.fillStyle = "rgb(11 16 19 / .72)";
    context.fillRect(left, top, wide, row);
    context.fillStyle = VIVID[emotion];
    context.fillRect(left, top + row - 4, Math.max(2, wide * face.scores[emotion]), 4);
    context.fillStyle = "#fff";
    context.fillText(emotion, left + 6, top + 8.5);
    context.fillText(face.scores[emotion].toFixed(2), left + wide - 30, top + 8.5);
  });
}

function drawLandmarks(context, points, scale) {
  context.lineWidth = 1;
  context.strokeStyle = "rgb(255 255 255 / .65)";
  context.fillStyle = "#7df3e1";
  for (const [from, to, isClosed] of REGIONS) {
    context.beginPath();
    points.slice(from, to).forEach(([x, y], index) => context[index ? "lineTo" : "moveTo"](x * scale, y * scale));
    if (isClosed) context.closePath();
    context.stroke();
  }
  for (const [x, y] of points) { context.beginPath(); context.arc(x * scale, y * scale, 1.8, 0, 7); context.fill(); }
}

function showPeople() {
  const faces = scene?.faces ?? [], list = $("people");
  $("no-people").hidden = faces.length > 0;
  $("no-people").textContent = scene ? "Nobody." : "Not known: there is no picture.";
  const known = new Map([...list.children].map((item) => [Number(item.dataset.face), item]));
  for (const [number, item] of known) if (!faces.some((face) => face.face === number)) item.remove();
  for (const face of faces) {
    let item = known.get(face.face);
    if (!item) { item = newPerson(face); list.append(item); }
    item.style.setProperty("--mood", `var(--${face.emotion})`);
    item.querySelector("strong").textContent = `${face.emotion} ${percent(face.confidence)}`;
    item.querySelector("small").textContent = `person ${face.face}, for ${duration(face.duration_s)}`;
    EMOTIONS.forEach((emotion, index) => {
      const row = item.querySelectorAll(".score")[index], share = face.scores[emotion];
      row.querySelector("i").style.width = `${share * 100}%`;
      row.querySelector("b").textContent = percent(share);
    });
  }
  const said = faces.map((face) => `person ${face.face}: ${face.emotion}`).join(", ");
  const label = said || (scene ? "The camera sees nobody" : cover || "Nothing is seen");
  if ($("canvas").getAttribute("aria-label") !== label) $("canvas").setAttribute("aria-label", label);
}

function newPerson(face) {
  const rows = EMOTIONS.map((emotion) => make("div", { className: "score" },
    make("span", {}, emotion), make("div", { className: "bar", mood: emotion }, make("i")), make("b")));
  const item = make("li", { className: "person" }, make("h3", {}, make("strong"), make("small")), ...rows);
  item.dataset.face = face.face;
  return item;
}

// The last hour

function showTimeline() {
  const box = $("timeline"), length_s = Number(document.querySelector("[name=span]:checked").value);
  const now_s = performance.now() / 1000 + clockOffset_s, from_s = now_s - length_s;
  const width = Math.max(300, box.clientWidth), lane = 22;
  const shown = [...spans.values()].filter((span) => (span.to_s ?? now_s) > from_s);
  const faces = shown.filter((span) => span.face), gaps = shown.filter((span) => !span.face && span.what !== "ok");
  const lanes = lanesOf(faces, now_s), count = Math.max(1, ...lanes.values().map((at) => at + 1));
  const below = count * lane + 8, peopleHigh = 44, high = below + peopleHigh + 24;
  const at = (time_s) => Math.max(0, (time_s - from_s) / length_s * width);
  const svg = draw_svg("svg", { viewBox: `0 0 ${width} ${high}`, width, height: high });
  svg.append(hatch());
  for (const gap of gaps) {
    const left = at(gap.from_s), bar = draw_svg("rect", { x: left, y: 0, width: Math.max(1, at(gap.to_s ?? now_s) - left), height: below + peopleHigh, fill: "url(#gap)" });
    bar.append(draw_svg("title", {}, BLIND[gap.what] ?? gap.what));
    svg.append(bar);
  }
  for (const span of faces) {
    const left = at(span.from_s), wide = Math.max(2, at(span.to_s ?? now_s) - left);
    const bar = draw_svg("rect", { x: left, y: lanes.get(span.face) * lane + 2, width: wide, height: lane - 4, rx: Math.min(4, wide / 2), fill: `var(--${span.what})` });
    bar.append(draw_svg("title", {}, `person ${span.face}: ${span.what}, ${clock(span.from_s)}–${span.to_s ? clock(span.to_s) : "now"}`));
    svg.append(bar);
    if (wide > 70) svg.append(draw_svg("text", { x: left + 6, y: lanes.get(span.face) * lane + 15, class: "in-bar" }, span.what));
  }
  svg.append(...peopleArea(faces, now_s, from_s, at, below, peopleHigh, width));
  const parts = width < 500 ? 2 : 4;
  for (let part = 0; part <= parts; part++) {
    const x = width * part / parts, anchor = part === 0 ? "start" : part === parts ? "end" : "middle";
    const label = part === parts ? "now" : new Date(Date.now() - (1 - part / parts) * length_s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    svg.append(draw_svg("line", { x1: x, x2: x, y1: below + peopleHigh, y2: below + peopleHigh + 5, stroke: "var(--quiet)" }),
      draw_svg("text", { x, y: high - 4, "text-anchor": anchor }, label));
  }
  box.replaceChildren(svg);
  const visits = new Set(faces.map((span) => span.face)).size;
  const label = `Timeline: ${visits} visit${visits === 1 ? "" : "s"} in the last ${length_s / 60} minutes`;
  if (box.getAttribute("aria-label") !== label) box.setAttribute("aria-label", label);
  if (document.querySelector(".timeline details").open) showTable(shown);
}

/** The lane of each visit: the first that is free when it begins. */
function lanesOf(faces, now_s) {
  const visits = new Map();
  for (const span of faces) {
    const [from, to] = visits.get(span.face) ?? [span.from_s, 0];
    visits.set(span.face, [Math.min(from, span.from_s), Math.max(to, span.to_s ?? now_s)]);
  }
  const free = [], lanes = new Map();
  for (const [face, [from, to]] of [...visits].sort((a, b) => a[1][0] - b[1][0])) {
    let lane = free.findIndex((until) => until <= from);
    if (lane < 0) lane = free.length < 6 ? free.length : 5;
    free[lane] = to;
    lanes.set(face, lane);
  }
  return lanes;
}

function peopleArea(faces, now_s, from_s, at, top, high, width) {
  const steps = new Map();
  for (const span of faces) {
    const from = Math.max(from_s, span.from_s), to = span.to_s ?? now_s;
    steps.set(from, (steps.get(from) ?? 0) + 1);
    steps.set(to, (steps.get(to) ?? 0) - 1);
  }
  let people = 0, most = 0;
  const corners = [];
  for (const time of [...steps.keys()].sort((a, b) => a - b)) {
    corners.push([at(time), people]);
    people += steps.get(time);
    most = Math.max(most, people);
    corners.push([at(time), people]);
  }
  const y = (value) => top + high - value / Math.max(1, most) * (high - 16);
  const path = [`M0 ${y(0)}`, ...corners.map(([x, value]) => `L${x.toFixed(1)} ${y(value)}`), `L${width} ${y(people)} L${width} ${y(0)} Z`].join(" ");
  return [draw_svg("path", { d: path, fill: "var(--accent)", "fill-opacity": .25, stroke: "var(--accent)", "stroke-width": 1.5 }),
    draw_svg("text", { x: 0, y: top + 11 }, most ? `people in view, at most ${most}` : "people in view: none")];
}

function hatch() {
  const pattern = draw_svg("pattern", { id: "gap", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(draw_svg("rect", { width: 6, height: 6, fill: "var(--sunken)" }), draw_svg("line", { x1: 0, x2: 0, y1: 0, y2: 6, stroke: "var(--line)", "stroke-width": 4 }));
  const defs = draw_svg("defs");
  defs.append(pattern);
  return defs;
}

function draw_svg(tag, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function showTable(shown) {
  const rows = shown.sort((a, b) => b.from_s - a.from_s).slice(0, 200).map((span) => make("tr", {},
    make("td", {}, clock(span.from_s)), make("td", {}, span.to_s ? clock(span.to_s) : "now"),
    make("td", {}, span.face ? `person ${span.face}` : "camera"), make("td", {}, span.face ? span.what : BLIND[span.what] ?? "ok")));
  $("timeline-rows").replaceChildren(...rows);
}

function clock(time_s) {
  const ago_s = performance.now() / 1000 + clockOffset_s - time_s;
  return new Date(Date.now() - ago_s * 1000).toLocaleTimeString();
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} days`;
}

// How it is doing

function showCondition(name, title, detail) {
  const banner = $("condition");
  banner.dataset.name = name;
  if ($("condition-title").textContent !== title) $("condition-title").textContent = title;
  if ($("condition-detail").textContent !== detail) $("condition-detail").textContent = detail;
}

function showStatus() {
  const { condition, health, privacy } = status;
  showCondition(condition.name, condition.title, privacy?.paused ? pauseText(privacy) : condition.detail);
  const pause = $("pause");
  pause.disabled = !privacy;
  pause.textContent = privacy?.paused ? "Open camera" : "Pause camera";
  pause.classList.toggle("on", Boolean(privacy?.paused));
  $("pause-for").hidden = Boolean(privacy?.paused);
  if (!scene) draw();
  if (!health) return;
  $("fps").textContent = health.frames_per_s.toFixed(1);
  $("total-ms").replaceChildren(...(health.stages ? [health.stages.total_ms.toFixed(1), " ", make("small", {}, "ms")] : ["–"]));
  $("temperature").replaceChildren(...(health.temperature_c === null ? [make("small", {}, "unknown")] : [health.temperature_c.toFixed(0), " ", make("small", {}, "°C")]));
  $("memory").replaceChildren(health.memory_mb.toFixed(0), " ", make("small", {}, "MB"));
  showStages(health.stages);
  const limits = { max_fps: "the setting power.max_fps", max_cpu_percent: "the setting power.max_cpu_percent", temperature: "the temperature", throttled: "the firmware, which throttles the processor" };
  $("limit").textContent = health.limited_by ? `At most ${health.limit_fps} frames per second, because of ${limits[health.limited_by]}.` : "";
  showDevice(health);
}

function pauseText(privacy) {
  if (!privacy.until) return "The camera is closed until somebody opens it. Nothing is seen or stored.";
  const left_s = (Date.parse(privacy.until) - Date.parse(privacy.time)) / 1000;
  const until = new Date(Date.now() + left_s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return `The camera is closed until ${until}. Nothing is seen or stored.`;
}

function showStages(stages) {
  if (!stages) return;
  const parts = STAGES.map((name) => [name, stages[`${name}_ms`]]);
  const whole = parts.reduce((sum, [, ms]) => sum + ms, 0) || 1;
  $("stages").replaceChildren(...parts.map(([name, ms]) => { const bar = make("i", { mood: name }); bar.style.width = `${ms / whole * 100}%`; return bar; }));
  $("stages").setAttribute("aria-label", `Time of the stages of a frame with a face: ${parts.map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`).join(", ")}`);
  $("stage-names").replaceChildren(...parts.map(([name, ms]) => make("li", {}, make("i", { mood: name }), `${name} ${ms.toFixed(1)} ms`)));
}

function showDevice(health) {
  const waiting = health.outbox_depth === 1 ? "1 event waits" : `${health.outbox_depth} events wait`;
  const rows = [
    ["Broker", status.connected ? "connected" : status.refusal ?? "not connected", status.connected ? "" : "warn"],
    ["Outbox", `${waiting}${health.outbox_on_disk ? "" : ", in memory: the disk cannot be written"}`, health.outbox_on_disk ? "" : "bad"],
    ["Dropped", health.outbox_dropped ? `${health.outbox_dropped} events` : "no events", health.outbox_dropped ? "warn" : ""],
    ["Camera", health.camera_fault ? `${BLIND[health.camera] ?? health.camera}: ${health.camera_fault}` : BLIND[health.camera] ?? "sees", health.camera_fault ? "bad" : ""],
    ["Frames", `${health.frames.toLocaleString()} looked at, ${health.frames_dropped.toLocaleString()} dropped`, ""],
    ["Model", health.bundle, ""],
    ["Clock", health.time_synced ? "synchronised" : "not synchronised", health.time_synced ? "" : "warn"],
    ["Running", `for ${duration(health.uptime_s)}`, ""],
  ];
  const list = $("device-rows");
  list.replaceChildren(...rows.flatMap(([name, text, kind]) => [make("dt", {}, name), make("dd", { className: kind }, text)]));
}

// What somebody does

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) });
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(await answer.text());
  return answer.status === 204 ? null : answer.json();
}

/** Run the work of a button; its text says so, and an error goes where the result would. */
async function press(button, busy, problemList, work) {
  const text = button.textContent;
  button.disabled = true;
  button.textContent = busy;
  try {
    await work();
  } catch (error) {
    problemList?.replaceChildren(finding("problem", "", error.message || "no connection"));
  }
  button.disabled = false;
  if (button.textContent === busy) button.textContent = text;
}

function finding(mark, name, text, advice, symptom) {
  return make("li", {}, make("span", { className: `mark ${mark}` }, mark),
    make("div", {}, name ? make("strong", {}, `${name}: `) : "", text, advice ? make("em", {}, `→ ${advice}`) : "",
      symptom ? make("small", {}, `docs/troubleshooting.md#${symptom}`) : ""));
}

$("pause").addEventListener("click", () => {
  const pausing = !status.privacy.paused, for_s = $("pause-for").value;
  press($("pause"), pausing ? "Closing…" : "Opening…", null, async () => {
    status.privacy = await post("/privacy", pausing && for_s ? { paused: true, for_s: Number(for_s) } : { paused: pausing });
    showStatus();
  });
});
$("logout").addEventListener("click", async () => { await post("/logout"); location.reload(); });
$("doctor").addEventListener("click", () => press($("doctor"), "Examining…", $("findings"), async () => {
  const { findings } = await post("/doctor");
  $("findings").replaceChildren(...findings.map((one) => finding(one.status, one.check, one.found, one.advice, one.symptom)));
}));

function aim() {
  return press($("aim"), "Checking…", $("aim-points"), async () => {
    const { points } = await post("/aim");
    $("aim-points").replaceChildren(...points.map((one) => finding(one.is_fine ? "ok" : "warning", one.check, one.text)));
  });
}
$("aim").addEventListener("click", aim);
$("aim-again").addEventListener("change", async () => {
  while ($("aim-again").checked) {
    await aim();
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
});

let settings = [];
$("settings").addEventListener("toggle", async () => {
  if (!$("settings").open || settings.length) return;
  settings = await (await fetch("/settings")).json();
  showSettings();
});
$("settings-filter").addEventListener("input", showSettings);
function showSettings() {
  const wanted = $("settings-filter").value.toLowerCase();
  $("settings-rows").replaceChildren(...settings.filter((one) => one.key.includes(wanted)).map((one) =>
    make("tr", {}, make("td", {}, make("code", {}, one.key)), make("td", { className: one.is_default ? "" : "changed" }, one.value === "" ? "–" : typeof one.value === "object" ? JSON.stringify(one.value) : String(one.value)))));
}

$("show-landmarks").addEventListener("change", connect);
$("show-scores").addEventListener("change", () => draw());
for (const radio of document.querySelectorAll("[name=span]")) radio.addEventListener("change", showTimeline);
document.querySelector(".timeline details").addEventListener("toggle", showTimeline);
addEventListener("resize", () => { draw(); showTimeline(); });
setInterval(() => { if (status && !document.hidden) showTimeline(); }, 5000);

$("legend").append(...[...EMOTIONS, "uncertain"].map((name) => make("li", {}, make("i", { mood: name }), name)),
  make("li", {}, make("i", { className: "gap" }), "camera closed or failed"));

// A tab in the background costs the device nothing.
let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => { streams?.abort(); streams = null; }, HIDDEN_S * 1000);
  else if (!streams) connect();
});
connect();
draw("Connecting");
