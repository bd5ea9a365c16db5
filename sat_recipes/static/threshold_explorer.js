// From the counts of positives and negatives in each bin of scores: one threshold moves everything.
function above(counts) { // how many have a score of at least each edge
  const sums = new Array(counts.length)
  let sum = 0
  for (let i = counts.length - 1; i >= 0; i--) sums[i] = sum += counts[i]
  return sums
}

function shares(counts, edges, [low, high], bins = 40) { // of all, in equal bins from low to high
  const total = counts.reduce((a, b) => a + b, 0), out = new Array(bins).fill(0)
  const bin = edge => clamp(Math.floor((edge - low)/(high - low)*bins), 0, bins - 1)
  counts.forEach((n, i) => { out[bin(edges[i])] += ratio(n, total) || 0 })
  return out
}

function render({ model, el }) {
  const edges = model.get('edges'), positives = model.get('positives'), negatives = model.get('negatives')
  const [low, high] = model.get('limits'), name = model.get('name')
  const tp = above(positives), fp = above(negatives), P = tp[0], N = fp[0], own = P/(P + N)
  const at = threshold => { // the first edge that is not below; the last where all are
    const found = edges.findIndex(edge => edge >= threshold - (high - low)*1e-9)
    return found < 0 ? edges.length - 1 : found
  }
  const recall = tp.map(n => ratio(n, P)), fpr = fp.map(n => ratio(n, N))
  const precision = (i, prevalence) => ratio(prevalence*recall[i], prevalence*recall[i] + (1 - prevalence)*fpr[i])

  const threshold = slider('Threshold', { min: low, max: high, step: (high - low)/1000, text: v => fixed(v) },
    v => put(model, 'threshold', edges[at(v)]))
  const prevalence = slider('Prevalence', { min: 0.001, max: 0.999, step: 0.001, text: v => `${(100*v).toFixed(1)} %` },
    v => put(model, 'prevalence', v))
  const reset = button('Prevalence of the data', () => put(model, 'prevalence', own))

  const cell = key => html('td', { 'data-name': key })
  const cells = Object.fromEntries(['tp', 'fn', 'fp', 'tn'].map(key => [key, cell(key)]))
  const head = text => html('th', { scope: 'col' }, text)
  const side = text => html('th', { scope: 'row' }, text)
  const table = html('table', { class: 'sr-figures' }, html('caption', {}, 'What becomes of each'),
    html('thead', {}, html('tr', {}, html('td', {}), head(`called ${name}`), head('called other'))),
    html('tbody', {}, html('tr', {}, side(`truly ${name}`), cells.tp, cells.fn),
      html('tr', {}, side('truly other'), cells.fp, cells.tn)))
  const scores = figures('At this threshold', { precision: 'Precision', recall: 'Recall', f1: 'F1',
    fpr: 'False alarm rate', accuracy: 'Accuracy' })
  const areas = figures('Over all thresholds', { auc: 'ROC AUC', ap: 'Average precision' })
  const split = [shares(positives, edges, [low, high]), shares(negatives, edges, [low, high])]
  const top = Math.max(0.01, ...split[0], ...split[1])
  const spread = chart({ title: 'Scores', xlabel: 'score', ylabel: 'share of its class', x: [low, high], y: [0, top] })
  const roc = chart({ title: 'ROC', xlabel: 'false alarm rate', ylabel: 'recall' })
  const pr = chart({ title: 'Precision and recall', xlabel: 'recall', ylabel: 'precision' })
  const say = frame(el, `Threshold: ${name}`, threshold.box, prevalence.box, row(reset),
    row(table, scores.box, areas.box),
    row(spread.box, roc.box, pr.box), note(`${name}: solid; other: dashed. ${model.get('note')}`))

  const steps = values => values.flatMap((value, i) => {
    const [from, to] = [i, i + 1].map(j => low + j*(high - low)/values.length)
    return [[from, value], [to, value]]
  })
  const curves = spread.path(steps(split[1]), 'sr-b'), solid = spread.path(steps(split[0]), 'sr-a')
  const rocPoints = [...fpr.map((x, i) => [x, recall[i]]), [0, 0]]
  const rocLine = roc.path(rocPoints, 'sr-a'), chance = roc.path([[0, 0], [1, 1]], 'sr-faint')
  const auc = rocPoints.slice(1).reduce((sum, [x, y], i) => sum + (rocPoints[i][0] - x)*(rocPoints[i][1] + y)/2, 0)

  let drawnFor, prLine, ap
  function draw() {
    const share = model.get('prevalence'), i = at(model.get('threshold'))
    if (drawnFor !== share) { // the curve of precision moves with prevalence alone
      prLine = pr.path(recall.map((x, j) => [x, precision(j, share)]), 'sr-a')
      ap = recall.reduce((sum, x, j) => sum + (x - (recall[j + 1] ?? 0))*(precision(j, share) || 0), 0)
      drawnFor = share
    }
    threshold.set(edges[i])
    prevalence.set(share)
    // At the data's own prevalence these are counts; at another, what the same number of items would give.
    const [all, r, f, p] = [P + N, recall[i], fpr[i], precision(i, share)]
    const asCounted = Math.abs(share - own) < 1e-9
    const [TP, FP] = asCounted ? [tp[i], fp[i]] : [all*share*r, all*(1 - share)*f]
    const [FN, TN] = asCounted ? [P - tp[i], N - fp[i]] : [all*share*(1 - r), all*(1 - share)*(1 - f)]
    Object.entries({ tp: TP, fn: FN, fp: FP, tn: TN }).forEach(([key, n]) => { cells[key].textContent = count(n) })
    const f1 = ratio(2*TP, 2*TP + FP + FN)
    scores.set({ precision: fixed(p), recall: fixed(r), f1: fixed(f1), fpr: fixed(f), accuracy: fixed((TP + TN)/all) })
    areas.set({ auc: fixed(auc), ap: fixed(ap) })
    spread.draw(curves, solid, spread.path([[edges[i], 0], [edges[i], top]], 'sr-faint'))
    roc.draw(chance, rocLine, roc.dot(f, r, 'sr-dot'))
    pr.draw(pr.path([[0, share], [1, share]], 'sr-faint'), prLine, pr.dot(r, p, 'sr-dot'))
    spread.say(`threshold at ${fixed(edges[i])}`)
    roc.say(`false alarm rate ${fixed(f)}, recall ${fixed(r)}`)
    pr.say(`recall ${fixed(r)}, precision ${fixed(p)}`)
    say(`From ${fixed(edges[i])} up: ${count(TP)} of ${count(TP + FN)} ${name} found, ${count(FP)} false alarms.`)
  }
  return watch(model, ['threshold', 'prevalence'], draw)
}

export default { render }
