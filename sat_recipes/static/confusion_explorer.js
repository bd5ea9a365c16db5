// A confusion matrix as a table of buttons: rows are the truth, columns the prediction.
const READINGS = [['', 'Counts'], ['true', 'Share of the row (recall)'], ['pred', 'Share of the column (precision)']]
const ORDERS = [['given', 'As given'], ['support', 'Largest class first'], ['recall', 'Worst recall first'],
  ['name', 'By name']]

function render({ model, el }) {
  const counts = model.get('counts'), classes = model.get('classes'), patches = model.get('patches')
  const all = classes.map((_, i) => i), sum = values => values.reduce((a, b) => a + b, 0)
  const truth = counts.map(sum), called = all.map(j => sum(all.map(i => counts[i][j])))
  const recall = i => truth[i] ? counts[i][i]/truth[i] : 2
  const sorted = { given: () => 0, support: (a, b) => truth[b] - truth[a], recall: (a, b) => recall(a) - recall(b),
    name: (a, b) => classes[a].localeCompare(classes[b]) }
  const share = { true: (i, j) => ratio(counts[i][j], truth[i]), pred: (i, j) => ratio(counts[i][j], called[j]) }
  const largest = Math.max(1, ...counts.flat())

  const reading = select('Show', READINGS, v => put(model, 'normalize', v))
  const order = select('Order', ORDERS, v => put(model, 'order', v))
  const matrix = html('table', { class: 'sr-matrix' })
  const chosen = html('div', { class: 'sr-patches' })
  const say = frame(el, 'Confusion', row(reading.box, order.box),
    row(html('div', { class: 'sr-scroll' }, matrix), chosen),
    note('Rows: the truth. Columns: the prediction. Click a cell, or go by arrow keys and press Enter.'))

  function cell(i, j, normalize) {
    const part = normalize ? share[normalize](i, j) : counts[i][j]/largest
    const text = normalize ? fixed(part, 2) : count(counts[i][j])
    const [a, b] = model.get('selected'), on = a === i && b === j
    const onclick = () => put(model, 'selected', [i, j])
    const name = `truth ${classes[i]}, prediction ${classes[j]}: ${text}`
    return html('td', { style: `--share: ${80*(part || 0)}` }, html('button', { type: 'button', onclick,
      'aria-pressed': String(on), 'aria-label': name, tabindex: on ? 0 : -1, 'data-cell': `${i},${j}` }, text))
  }

  function rows(list, normalize) {
    const head = list.map(j => html('th', { scope: 'col' }, html('span', {}, classes[j])))
    const line = i => html('tr', {}, html('th', { scope: 'row' }, classes[i]), ...list.map(j => cell(i, j, normalize)))
    const body = list.map(line), right = sum(all.map(i => counts[i][i]))
    matrix.replaceChildren(
      html('caption', {}, `${count(sum(truth))} items, accuracy ${fixed(ratio(right, sum(truth)))}`),
      html('thead', {}, html('tr', {}, html('td', {}), ...head)), html('tbody', {}, ...body))
    if (!matrix.querySelector('[tabindex="0"]')) matrix.querySelector('button')?.setAttribute('tabindex', 0)
  }

  matrix.addEventListener('keydown', event => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key]
    const from = event.target.closest('button')
    if (!step || !from) return
    event.preventDefault()
    event.stopPropagation()
    const lines = [...matrix.tBodies[0].rows].map(line => [...line.querySelectorAll('button')])
    const y = lines.findIndex(line => line.includes(from)), x = lines[y].indexOf(from)
    const to = lines[clamp(y + step[0], 0, lines.length - 1)][clamp(x + step[1], 0, lines.length - 1)]
    from.setAttribute('tabindex', -1)
    to.setAttribute('tabindex', 0)
    to.focus()
  })

  function draw() {
    const focused = matrix.contains(matrix.getRootNode().activeElement)
    const normalize = model.get('normalize'), list = [...all].sort(sorted[model.get('order')])
    reading.set(normalize)
    order.set(model.get('order'))
    rows(list, normalize)
    const [i, j] = model.get('selected')
    chosen.replaceChildren()
    if (i === undefined) return say('No cell is chosen.')
    if (focused) matrix.querySelector('[tabindex="0"]').focus()
    const pictures = patches[`${i},${j}`] ?? []
    const alt = k => `patch ${k + 1}: truth ${classes[i]}, prediction ${classes[j]}`
    chosen.append(...pictures.map((src, k) => image({ src, alt: alt(k) })))
    say(`Truth ${classes[i]}, called ${classes[j]}: ${count(counts[i][j])} items, ` +
        `${fixed(share.true(i, j))} of ${classes[i]}, ${fixed(share.pred(i, j))} of what was called ${classes[j]}.`)
  }
  return watch(model, ['normalize', 'order', 'selected'], draw)
}

export default { render }
