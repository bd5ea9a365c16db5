// What all widgets share. Python joins this file and a widget's own into one ES module.
// Texts reach the page only as text nodes and attributes, never as HTML.
const SVG = 'http://www.w3.org/2000/svg'

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value)
    else if (value !== undefined) node.setAttribute(key, value)
  }
  // JupyterLab takes arrow keys and Enter for its own, but from what says this.
  if (node.matches('input, select, button, [tabindex]')) node.setAttribute('data-lm-suppress-shortcuts', 'true')
  node.append(...children)
  return node
}

const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children)
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children)

const clamp = (value, low, high) => Math.min(Math.max(value, low), high)
const fixed = (value, digits = 3) => Number.isFinite(value) ? value.toFixed(digits) : '–'
const count = value => Math.round(value).toLocaleString('en')
const ratio = (a, b) => b ? a/b : NaN

// Boxes are [left, top, right, bottom].
const area = ([x0, y0, x1, y1]) => Math.max(x1 - x0, 0)*Math.max(y1 - y0, 0)
const overlap = (a, b) => [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]

function put(model, name, value) {
  model.set(name, value)
  model.save_changes()
}

// Draw now and whenever one of the traits changes; gives what undoes it.
function watch(model, names, draw) {
  for (const name of names) model.on(`change:${name}`, draw)
  draw()
  return () => names.forEach(name => model.off(`change:${name}`, draw))
}

// The widget's box: a group with a name, and a sentence that screen readers hear when it has settled.
function frame(el, title, ...children) {
  const said = html('p', { class: 'sr-said', 'aria-live': 'polite' })
  let timer
  const say = text => {
    clearTimeout(timer)
    timer = setTimeout(() => { said.textContent = text }, 150)
  }
  el.append(html('div', { class: 'sr-recipes', role: 'group', 'aria-label': title },
    html('p', { class: 'sr-title' }, title), ...children, said))
  return say
}

const row = (...children) => html('div', { class: 'sr-row' }, ...children)
const note = text => html('p', { class: 'sr-note' }, text)
// The theme of the site darkens pictures, but for those of this class.
const image = attributes => html('img', { class: 'dark-light', draggable: 'false', ...attributes })
const button = (text, onclick) => html('button', { type: 'button', class: 'sr-button', onclick }, text)

function slider(label, { min = 0, max = 1, step = 0.01, text = value => fixed(value, 2) }, changed) {
  const shown = html('span', { class: 'sr-value', 'aria-hidden': 'true' })
  const oninput = () => changed(Number(input.value))
  const input = html('input', { type: 'range', min, max, step, 'aria-label': label, oninput })
  const box = html('div', { class: 'sr-slider' }, html('span', { 'aria-hidden': 'true' }, label), input, shown)
  const set = value => {
    input.value = value
    shown.textContent = text(value)
    input.setAttribute('aria-valuetext', text(value))
  }
  return { box, input, set }
}

// `options`: [value, text] pairs.
function select(label, options, changed) {
  const list = html('select', { 'aria-label': label, onchange: () => changed(list.value) },
    ...options.map(([value, text]) => html('option', { value }, text)))
  const box = html('label', { class: 'sr-select' }, html('span', {}, label), list)
  return { box, set: value => { list.value = value } }
}

// Names beside numbers; `set({key: text})`.
function figures(caption, names) {
  const cells = Object.fromEntries(Object.keys(names).map(key => [key, html('td', { 'data-name': key })]))
  const line = ([key, name]) => html('tr', {}, html('th', { scope: 'row' }, name), cells[key])
  const rows = Object.entries(names).map(line)
  const box = html('table', { class: 'sr-figures' }, html('caption', {}, caption), html('tbody', {}, ...rows))
  return { box, set: texts => Object.entries(texts).forEach(([key, text]) => { cells[key].textContent = text }) }
}

// Axes of `x` and `y` with ticks; `draw` puts shapes on them, `say` tells screen readers what is seen.
function chart({ title, xlabel, ylabel, x = [0, 1], y = [0, 1] }) {
  const [width, height, left, top, right, bottom] = [286, 240, 52, 26, 12, 40]
  const X = value => left + (value - x[0])/(x[1] - x[0])*(width - left - right)
  const Y = value => height - bottom - (value - y[0])/(y[1] - y[0])*(height - top - bottom)
  const between = ([low, high]) => [0, 0.25, 0.5, 0.75, 1].map(share => low + share*(high - low))
  const digits = span => span < 0.3 ? 3 : span <= 1 ? 2 : span < 4 ? 1 : 0
  const short = (value, [low, high]) => value.toFixed(digits(high - low))
  const ticks = [
    ...between(x).map(v => svg('line', { class: 'sr-grid', x1: X(v), x2: X(v), y1: Y(y[0]), y2: Y(y[1]) })),
    ...between(y).map(v => svg('line', { class: 'sr-grid', x1: X(x[0]), x2: X(x[1]), y1: Y(v), y2: Y(v) })),
    ...between(x).map(v => svg('text', { x: X(v), y: height - bottom + 14, 'text-anchor': 'middle' }, short(v, x))),
    ...between(y).map(v => svg('text', { x: left - 5, y: Y(v) + 4, 'text-anchor': 'end' }, short(v, y))),
  ]
  const marks = svg('g')
  const middle = (top + height - bottom)/2
  const box = svg('svg', { class: 'sr-chart', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title },
    ...ticks,
    svg('text', { class: 'sr-name', x: left, y: 16 }, title),
    svg('text', { x: (left + width - right)/2, y: height - 8, 'text-anchor': 'middle' }, xlabel),
    svg('text', { transform: `translate(11 ${middle}) rotate(-90)`, 'text-anchor': 'middle' }, ylabel), marks)
  const path = (points, style) => {
    const known = points.filter(([a, b]) => Number.isFinite(a + b))
    const text = known.map(([a, b]) => `${X(a).toFixed(1)},${Y(b).toFixed(1)}`).join(' ')
    return svg('polyline', { class: style, points: text })
  }
  const dot = (a, b, style) => Number.isFinite(a + b) ? svg('circle', { class: style, cx: X(a), cy: Y(b), r: 5 }) : null
  const bar = (from, to, value, style) => svg('rect', { class: style, x: X(from) + 0.5, y: Y(value),
    width: Math.max(X(to) - X(from) - 1, 0.5), height: Math.max(Y(y[0]) - Y(value), 0) })
  return { box, path, dot, bar,
    draw: (...shapes) => marks.replaceChildren(...shapes.filter(Boolean)),
    say: text => box.setAttribute('aria-label', `${title}: ${text}`) }
}

const bytesOf = base64 => Uint8Array.from(atob(base64), letter => letter.charCodeAt(0))

