// Draws a payload's PNG on a canvas that can be zoomed, panned, hovered and clicked. The browser decodes the PNG.

const ROLE_COLORS = { header: "#2f7fd1", field: "#1f9e77", padding: "#7d8590", body: null, slots: null }
const CURSOR = "#d9641e"
const MAX_SCALE = 48

export default function (component) {
  const { parentElement: root, data, setTriggerValue } = component
  const canvas = root.querySelector("canvas")
  const status = root.querySelector(".status")
  const legend = root.querySelector(".legend")
  const view = (root.__view ??= { scale: 0, x: 0, y: 0, cursor: 0, image: null, bytes: null, png: null })

  const fit = () => Math.min(canvas.clientWidth / data.width, canvas.clientHeight / data.height)
  const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high))
  const sectionAt = (offset) => data.sections.find((s) => offset >= s.start && offset < s.stop)

  // Keep the zoom between "whole picture" and MAX_SCALE, and the picture inside the canvas.
  function limitView() {
    const least = fit()
    view.scale = clamp(view.scale || least, least, Math.max(least, MAX_SCALE))
    const wide = canvas.clientWidth / view.scale, high = canvas.clientHeight / view.scale
    view.x = wide >= data.width ? (data.width - wide) / 2 : clamp(view.x, 0, data.width - wide)
    view.y = high >= data.height ? (data.height - high) / 2 : clamp(view.y, 0, data.height - high)
  }

  function zoom(factor, px, py) {
    px ??= canvas.clientWidth / 2
    py ??= canvas.clientHeight / 2
    const before = { x: view.x + px / view.scale, y: view.y + py / view.scale }
    view.scale = clamp(view.scale * factor, fit(), MAX_SCALE)
    view.x = before.x - px / view.scale
    view.y = before.y - py / view.scale
    draw()
  }

  function scrollTo(offset) {
    const row = Math.floor(offset / data.width), column = offset % data.width
    const wide = canvas.clientWidth / view.scale, high = canvas.clientHeight / view.scale
    if (column < view.x || column + 1 > view.x + wide) view.x = column - wide / 2
    if (row < view.y || row + 1 > view.y + high) view.y = row - high / 2
  }

  // Call paint(x, y, width, height) for each row of the bytes [start, stop).
  function forEachRow(start, stop, paint) {
    for (let row = Math.floor(start / data.width); row * data.width < stop; row++) {
      const from = Math.max(start - row * data.width, 0), to = Math.min(stop - row * data.width, data.width)
      paint((from - view.x) * view.scale, (row - view.y) * view.scale, (to - from) * view.scale, view.scale)
    }
  }

  function outline(context, start, stop, color, width) {
    const grow = view.scale < 6 ? 3 : 0 // a pixel that is tiny on screen still gets a visible frame
    forEachRow(start, stop, (x, y, w, h) => {
      context.lineWidth = width + 2
      context.strokeStyle = "rgba(255,255,255,.95)"
      context.strokeRect(x - grow, y - grow, w + 2 * grow, h + 2 * grow)
      context.lineWidth = width
      context.strokeStyle = color
      context.strokeRect(x - grow, y - grow, w + 2 * grow, h + 2 * grow)
    })
  }

  function draw() {
    if (!view.image || !canvas.clientWidth) return
    const ratio = window.devicePixelRatio || 1
    const wide = Math.round(canvas.clientWidth * ratio), high = Math.round(canvas.clientHeight * ratio)
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high]
    limitView()
    const context = canvas.getContext("2d")
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight)
    context.imageSmoothingEnabled = view.scale * ratio < 1
    context.drawImage(view.image, -view.x * view.scale, -view.y * view.scale,
      data.width * view.scale, data.height * view.scale)
    for (const section of data.sections) {
      const color = ROLE_COLORS[section.role]
      if (!color) continue
      context.fillStyle = color + "66"
      forEachRow(section.start, section.stop, (x, y, w, h) => context.fillRect(x, y, w, h))
    }
    if (view.scale >= 9) grid(context)
    if (view.scale >= 22) hex(context)
    for (const mark of data.marks) outline(context, mark.start, mark.stop, mark.color, 2)
    if (data.selected !== null) outline(context, data.selected, data.selected + 1, CURSOR, 3)
    if (root.activeElement === canvas) {
      context.setLineDash([4, 3])
      outline(context, view.cursor, view.cursor + 1, "#171d2b", 1)
      context.setLineDash([])
    }
  }

  function grid(context) {
    context.strokeStyle = "rgba(128,138,155,.35)"
    context.lineWidth = 1
    context.beginPath()
    for (let column = Math.max(0, Math.ceil(view.x)); column <= data.width; column++) {
      const x = (column - view.x) * view.scale
      if (x > canvas.clientWidth) break
      context.moveTo(x, Math.max(0, -view.y * view.scale))
      context.lineTo(x, Math.min(canvas.clientHeight, (data.height - view.y) * view.scale))
    }
    for (let row = Math.max(0, Math.ceil(view.y)); row <= data.height; row++) {
      const y = (row - view.y) * view.scale
      if (y > canvas.clientHeight) break
      context.moveTo(Math.max(0, -view.x * view.scale), y)
      context.lineTo(Math.min(canvas.clientWidth, (data.width - view.x) * view.scale), y)
    }
    context.stroke()
  }

  function hex(context) {
    context.font = `${Math.min(13, view.scale * 0.42)}px ui-monospace, monospace`
    context.textAlign = "center"
    context.textBaseline = "middle"
    const left = Math.max(0, Math.floor(view.x)), top = Math.max(0, Math.floor(view.y))
    const right = Math.min(data.width, Math.ceil(view.x + canvas.clientWidth / view.scale))
    const bottom = Math.min(data.height, Math.ceil(view.y + canvas.clientHeight / view.scale))
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const value = view.bytes[row * data.width + column]
        context.fillStyle = value > 115 ? "#000" : "#fff"
        context.fillText(value.toString(16).padStart(2, "0"),
          (column + 0.5 - view.x) * view.scale, (row + 0.5 - view.y) * view.scale)
      }
    }
  }

  function describe(offset) {
    const value = view.bytes ? view.bytes[offset] : 0
    const section = sectionAt(offset)
    let text = section ? section.name : ""
    if (section && section.role === "slots") {
      const inside = offset - section.start
      text = data.slot_bits
        ? `bits ${(8 * inside).toLocaleString("en")} … of the filter`
        : `slot ${Math.floor(inside / data.slot_bytes).toLocaleString("en")} of the fingerprints`
    } else if (section && section.role !== "padding") {
      text = `${{ header: "header field ", field: "field " }[section.role] ?? ""}${section.name}, byte ${offset - section.start + 1}`
    }
    status.textContent = `byte ${offset.toLocaleString("en")} = ${value} (0x${value.toString(16).padStart(2, "0")}) · ${text}`
  }

  // The byte under the pointer, or null outside the picture.
  function offsetAt(event) {
    const box = canvas.getBoundingClientRect()
    const column = Math.floor(view.x + (event.clientX - box.left) / view.scale)
    const row = Math.floor(view.y + (event.clientY - box.top) / view.scale)
    const inside = column >= 0 && row >= 0 && column < data.width && row < data.height
    return inside ? row * data.width + column : null
  }

  let drag = null
  canvas.onpointerdown = (event) => {
    drag = { x: event.clientX, y: event.clientY, from: { x: view.x, y: view.y }, moved: false }
    canvas.setPointerCapture(event.pointerId)
  }
  canvas.onpointermove = (event) => {
    if (drag) {
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y
      drag.moved ||= Math.abs(dx) + Math.abs(dy) > 4
      if (drag.moved) {
        view.x = drag.from.x - dx / view.scale
        view.y = drag.from.y - dy / view.scale
        draw()
      }
    }
    const offset = offsetAt(event)
    if (offset !== null) describe(offset)
  }
  canvas.onpointerup = (event) => {
    const offset = offsetAt(event)
    if (drag && !drag.moved && offset !== null) choose(offset)
    drag = null
  }
  canvas.onpointercancel = () => { drag = null }
  canvas.onpointerleave = () => { if (data.selected !== null) describe(data.selected) }
  canvas.onwheel = (event) => {
    if (root.activeElement !== canvas && !event.ctrlKey) return // scrolling past must not zoom
    event.preventDefault()
    const box = canvas.getBoundingClientRect()
    zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top)
  }
  canvas.onfocus = canvas.onblur = () => draw()
  canvas.onkeydown = (event) => {
    const last = data.width * data.height - 1
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -data.width, ArrowDown: data.width }[event.key]
    if (step !== undefined) view.cursor = clamp(view.cursor + step, 0, last)
    else if (event.key === "Home") view.cursor = 0
    else if (event.key === "End") view.cursor = last
    else if (event.key === "Enter" || event.key === " ") choose(view.cursor)
    else if (event.key === "+" || event.key === "=") zoom(1.5)
    else if (event.key === "-") zoom(1 / 1.5)
    else if (event.key === "0") zoom(1e-9)
    else return
    event.preventDefault()
    scrollTo(view.cursor)
    describe(view.cursor)
    draw()
  }

  function choose(offset) {
    view.cursor = offset
    describe(offset)
    setTriggerValue("picked", offset)
  }

  root.querySelector(".in").onclick = () => zoom(1.7)
  root.querySelector(".out").onclick = () => zoom(1 / 1.7)
  root.querySelector(".whole").onclick = () => zoom(1e-9)
  root.querySelector(".find").onclick = () => {
    if (data.selected === null) return
    view.scale = clamp(24, fit(), MAX_SCALE)
    view.x = (data.selected % data.width) - canvas.clientWidth / view.scale / 2
    view.y = Math.floor(data.selected / data.width) - canvas.clientHeight / view.scale / 2
    draw()
  }

  canvas.setAttribute("aria-label", data.label)
  legend.replaceChildren(...data.legend.map(([color, text]) => {
    const entry = document.createElement("span")
    const swatch = document.createElement("i")
    swatch.style.background = color
    entry.append(swatch, text)
    return entry
  }))
  if (data.selected !== null && data.selected !== view.selected) {
    view.selected = view.cursor = data.selected
    if (view.scale) scrollTo(data.selected)
  }

  if (view.png !== data.png) {
    view.png = data.png
    view.scale = view.x = view.y = 0
    const image = new Image()
    image.onload = () => {
      if (view.png !== data.png) return
      view.image = image
      const scratch = document.createElement("canvas")
      scratch.width = data.width
      scratch.height = data.height
      const context = scratch.getContext("2d", { willReadFrequently: true })
      context.drawImage(image, 0, 0)
      const pixels = context.getImageData(0, 0, data.width, data.height).data
      view.bytes = new Uint8Array(data.width * data.height)
      for (let i = 0; i < view.bytes.length; i++) view.bytes[i] = pixels[4 * i]
      draw()
      describe(data.selected ?? 0)
      canvas.dataset.ready = String(view.bytes.length)
    }
    image.src = "data:image/png;base64," + data.png
  } else {
    draw()
    if (data.selected !== null) describe(data.selected)
  }

  const observer = new ResizeObserver(draw)
  observer.observe(canvas)
  return () => observer.disconnect()
}
