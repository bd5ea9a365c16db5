// Predicted boxes over a picture: matched to the truth greedily, the highest score first.
function iouOf(a, b) {
  const shared = area(overlap(a, b))
  return ratio(shared, area(a) + area(b) - shared) || 0
}

// For each prediction, in descending order of score, the truth that it takes: the free one of the highest IoU, or -1.
function match(ious, least, targets) {
  const free = new Array(targets).fill(true)
  return ious.map(row => {
    let best = -1
    row.forEach((iou, j) => { if (free[j] && iou >= least && iou > (row[best] ?? -1)) best = j })
    if (best >= 0) free[best] = false
    return best
  })
}

function render({ model, el }) {
  const targets = model.get('targets'), scores = model.get('scores'), boxes = model.get('boxes') // by descending score
  const [width, height] = model.get('size'), ious = boxes.map(box => targets.map(target => iouOf(box, target)))
  const score = slider('Least score', {}, v => put(model, 'threshold', v))
  const least = slider('Least IoU', { min: 0.05, max: 0.95, step: 0.05 }, v => put(model, 'iou', v))
  const numbers = figures('Counted', { tp: 'Found (TP)', fp: 'False alarms (FP)', fn: 'Missed (FN)',
    precision: 'Precision', recall: 'Recall', f1: 'F1', ap: 'Average precision' })
  const pr = chart({ title: 'Precision and recall', xlabel: 'recall', ylabel: 'precision' })
  const layer = svg('g')
  const stage = svg('svg', { class: 'sr-stage', viewBox: `0 0 ${width} ${height}`, role: 'img' },
    svg('image', { href: model.get('picture'), width, height }), layer)
  const key = (style, text) => html('span', { class: 'sr-key' },
    svg('svg', { viewBox: '0 0 30 10', 'aria-hidden': 'true' },
      svg('line', { class: `sr-box ${style}`, x1: 0, x2: 30, y1: 5, y2: 5 })), text)
  const keys = row(key('sr-tp', 'prediction, right'), key('sr-fp', 'prediction, wrong'), key('sr-fn', 'truth, missed'))
  const side = html('div', { class: 'sr-side' }, numbers.box, pr.box)
  const say = frame(el, 'Detection', score.box, least.box, row(stage, side), keys, note(model.get('note')))

  const shape = ([x0, y0, x1, y1], style) => ['sr-halo', `sr-box ${style}`].map(name =>
    svg('rect', { class: name, x: x0, y: y0, width: x1 - x0, height: y1 - y0 }))

  let matchedFor, taken, curve, ap
  function rank(asked) { // what does not depend on the least score
    taken = match(ious, asked, targets.length)
    let hits = 0
    curve = taken.map((j, i) => {
      hits += j >= 0
      return [ratio(hits, targets.length), hits/(i + 1)]
    })
    const envelope = curve.map(point => point[1])
    for (let i = envelope.length - 2; i >= 0; i--) envelope[i] = Math.max(envelope[i], envelope[i + 1])
    ap = curve.reduce((sum, [recall], i) => sum + (recall - (curve[i - 1]?.[0] ?? 0))*envelope[i], 0)
    matchedFor = asked
  }

  function draw() {
    const asked = model.get('iou'), lowest = model.get('threshold')
    if (matchedFor !== asked) rank(asked)
    score.set(lowest)
    least.set(asked)
    const kept = scores.filter(value => value >= lowest).length
    const found = new Set(taken.slice(0, kept).filter(j => j >= 0))
    const [tp, fp, fn] = [found.size, kept - found.size, targets.length - found.size]
    const [precision, recall] = [ratio(tp, kept), ratio(tp, targets.length)]
    layer.replaceChildren(...targets.flatMap((box, j) => found.has(j) ? [] : shape(box, 'sr-fn')),
      ...boxes.slice(0, kept).flatMap((box, i) => shape(box, taken[i] >= 0 ? 'sr-tp' : 'sr-fp')))
    numbers.set({ tp: count(tp), fp: count(fp), fn: count(fn), precision: fixed(precision), recall: fixed(recall),
      f1: fixed(ratio(2*tp, 2*tp + fp + fn)), ap: fixed(ap) })
    pr.draw(pr.path(curve, 'sr-faint'), pr.path(curve.slice(0, kept), 'sr-a'), pr.dot(recall, precision, 'sr-dot'))
    const text = `${tp} of ${targets.length} found, ${fp} false alarms, ${fn} missed`
    pr.say(`recall ${fixed(recall)}, precision ${fixed(precision)}`)
    stage.setAttribute('aria-label', `picture with boxes: ${text}`)
    say(`Scores from ${fixed(lowest, 2)}, IoU from ${fixed(asked, 2)}: ${text}.`)
  }
  return watch(model, ['threshold', 'iou'], draw)
}

export default { render }
