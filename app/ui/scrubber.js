// One round for the whole page, moved in the browser: what a move shows at once is drawn over the charts, and the server
// is told when it has ended. Pictures come by themselves, from /message.

const A_SECOND = 10 // rounds, while playing
const AT_ONCE = 4 // pictures asked for at a time
const CURVES = "[class*='st-key-bits_curve'] .js-plotly-plot, [class*='st-key-rounds_curve'] .js-plotly-plot"
const HEADING = /^Round \d+(?=: what )/

const svg = (name, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return made
}

// A chart's lines up to a round, and a dot where they stand. The lines of all rounds stay below, pale.
function drawCurves(chart, round) {
  const { xaxis, yaxis } = chart._fullLayout
  const area = chart.querySelector(".scatterlayer")?.parentNode
  if (!area) return
  chart.querySelector(".live")?.remove()
  const live = svg("g", { class: "live", "data-round": round })
  for (const node of chart.querySelectorAll(".scatterlayer .trace")) {
    const trace = node.__data__?.[0]?.trace
    if (!trace?.legendgroup) continue
    if (!trace.customdata) {
      node.style.visibility = "hidden" // what the server drew for its round
      continue
    }
    node.style.opacity = 0.3
    const points = []
    for (let i = 0; i < trace.x.length && trace.customdata[i][0] <= round; i++) {
      points.push([xaxis.l2p(xaxis.d2l(trace.x[i])), yaxis.l2p(yaxis.d2l(trace.y[i]))])
    }
    const seen = points.filter((point) => point.every(Number.isFinite))
    if (!seen.length) continue
    const { color, width } = trace.line
    const line = svg("polyline", { points: seen.join(" "), fill: "none", stroke: color, "stroke-width": width })
    line.style.strokeDasharray = node.querySelector(".js-line")?.style.strokeDasharray ?? ""
    live.append(line)
    const [cx, cy] = seen.at(-1)
    live.append(svg("circle", { cx, cy, r: 5, fill: color }))
  }
  area.append(live)
}

// As the server drew it.
function rest(chart) {
  chart.querySelector(".live")?.remove()
  for (const node of chart.querySelectorAll(".scatterlayer .trace")) {
    node.style.visibility = ""
    node.style.opacity = node.__data__?.[0]?.trace?.opacity ?? ""
  }
  for (const node of chart.querySelectorAll(".shapelayer path")) node.style.transform = ""
}

// Whoever points at a line or at its name sees it before the others, in both charts.
function lift(group) {
  for (const chart of document.querySelectorAll(CURVES)) {
    if (chart.querySelector(".live")) continue
    for (const node of chart.querySelectorAll(".scatterlayer .trace")) {
      const trace = node.__data__?.[0]?.trace
      if (!trace?.legendgroup) continue
      node.style.opacity = group === null || trace.legendgroup === group ? trace.opacity : 0.12 * trace.opacity
    }
  }
}

function follow(chart) {
  const groups = [...new Set(chart._fullData.map((trace) => trace.legendgroup).filter(Boolean))]
  chart.querySelectorAll(".annotation").forEach((name) => {
    const number = Number(name.textContent.match(/\d+/)?.[0])
    if (!groups[number - 1]) return
    name.style.pointerEvents = "all"
    name.onmouseenter = () => lift(groups[number - 1])
    name.onmouseleave = () => lift(null)
  })
  if (chart.__follows) return
  chart.__follows = true
  chart.on("plotly_afterplot", () => { rest(chart); follow(chart) })
  chart.on("plotly_hover", ({ points }) => lift(points[0].fullData.legendgroup || null))
  chart.on("plotly_unhover", () => lift(null))
}

// The lines that mark the server's round in the other charts.
function moveMarks(chart, from, round) {
  const { xaxis, shapes } = chart._fullLayout
  const marks = chart.querySelectorAll(".shapelayer path")
  shapes?.forEach((shape, index) => {
    if (shape.x0 !== from || shape.x1 !== from || !marks[index]) return
    marks[index].style.transform = `translateX(${xaxis.l2p(round) - xaxis.l2p(from)}px)`
  })
}

export default function (component) {
  const { parentElement: root, data, setStateValue } = component
  const button = root.querySelector("button")
  const range = root.querySelector("input")
  const shown = root.querySelector("output")
  const state = (root.__scrubber ??= { timer: null, held: false, pictures: new Map(), round: data.round })

  function show(round) {
    state.round = round
    range.value = round
    range.style.setProperty("--share", `${(100 * round) / data.last}%`)
    shown.textContent = round
  }

  function preview(round) {
    show(round)
    document.querySelectorAll(CURVES).forEach((chart) => chart._fullLayout && drawCurves(chart, round))
    document.querySelectorAll(".js-plotly-plot").forEach((chart) => chart._fullLayout && moveMarks(chart, data.round, round))
    for (const heading of document.querySelectorAll("h2")) {
      const text = document.createTreeWalker(heading, NodeFilter.SHOW_TEXT)
      for (let node = text.nextNode(); node; node = text.nextNode()) {
        if (HEADING.test(node.data)) node.data = node.data.replace(HEADING, `Round ${round}`)
      }
    }
    document.querySelectorAll(".film img[data-run]").forEach((image) => change(image, round))
  }

  const address = (image, round) =>
    `message?${new URLSearchParams({ run: image.dataset.run, client: image.dataset.client, round })}`

  function ask(where) {
    if (!state.pictures.has(where)) {
      const answer = fetch(where).then(async (reply) => reply.status === 200 ? {
        url: URL.createObjectURL(await reply.blob()),
        ...Object.fromEntries(["bytes", "width", "height"].map((name) => [name, Number(reply.headers.get(`x-message-${name}`))])),
      } : null).catch(() => null)
      state.pictures.set(where, answer)
      answer.then((picture) => state.pictures.set(where, picture))
    }
    return state.pictures.get(where)
  }

  // One that is not here yet is asked for, and shown the next time.
  function change(image, round) {
    const picture = ask(address(image, round))
    if (picture instanceof Promise) return
    const [said, about] = image.parentElement.querySelectorAll("figcaption :is(b, span)")
    image.style.opacity = picture ? 1 : 0.15
    said.textContent = picture ? `${picture.bytes.toLocaleString("en")} bytes` : "not kept"
    if (!picture) return
    image.src = picture.url
    image.width = Math.max(3, Math.round(picture.width * Number(image.dataset.scale)))
    about.textContent = about.textContent.replace(/^\d+ × \d+/, `${picture.width} × ${picture.height}`)
  }

  async function fetchAll() {
    const asked = []
    for (let round = 0; round <= data.last; round++) {
      for (const image of document.querySelectorAll(".film img[data-run]")) asked.push(address(image, round))
    }
    const one = async () => { for (let next = asked.shift(); next; next = asked.shift()) await ask(next) }
    await Promise.all(Array.from({ length: AT_ONCE }, one))
  }

  function label() {
    button.textContent = state.timer ? "Pause" : "Play"
    button.classList.toggle("playing", Boolean(state.timer))
  }

  function tell() {
    setStateValue("round", state.round)
  }

  function stop() {
    clearInterval(state.timer)
    state.timer = null
    label()
    tell()
  }

  function play() {
    if (state.timer) return stop()
    fetchAll()
    preview(data.untouched || state.round >= data.last ? 0 : state.round)
    state.timer = setInterval(() => {
      if (!root.isConnected) return clearInterval(state.timer)
      if (state.round < state.last) preview(state.round + 1)
      if (state.round >= state.last) stop()
    }, 1000 / A_SECOND)
    label()
  }

  // Charts come after this: those that are new are seen when they are there.
  const looking = setInterval(() => {
    if (!root.isConnected) return clearInterval(looking)
    document.querySelectorAll(CURVES).forEach((chart) => chart._fullData && !chart.__follows && follow(chart))
  }, 500)
  clearInterval(state.looking)
  state.looking = looking

  state.last = data.last
  range.max = data.last
  button.onclick = play
  range.oninput = () => { state.held = true; preview(Number(range.value)) }
  range.onchange = () => { state.held = false; state.timer ? stop() : tell() }
  if (!state.timer && !state.held) show(data.round)
  label()
}
