// Is a confidence of 0.8 right four times in five?
// A temperature divides the logits: no prediction changes, confidences do.
function render({ model, el }) {
  const n = model.get('n'), classes = model.get('n_classes'), bins = model.get('bins'), step = model.get('step')
  // How far each logit is below its row's largest, in steps.
  const below = new Uint16Array(bytesOf(model.get('below')).buffer)
  const truth = new Uint16Array(bytesOf(model.get('truth')).buffer)
  const right = Array.from(truth, (j, i) => below.subarray(i*classes, (i + 1)*classes).indexOf(0) === j)

  function measure(temperature) {
    const number = new Array(bins).fill(0), sure = new Array(bins).fill(0), hits = new Array(bins).fill(0)
    let nll = 0
    for (let i = 0; i < n; i++) {
      let sum = 0
      for (let j = i*classes; j < (i + 1)*classes; j++) sum += Math.exp(-below[j]*step/temperature)
      nll += Math.log(sum) + below[i*classes + truth[i]]*step/temperature
      const bin = Math.min(Math.floor(bins/sum), bins - 1) // the largest is 0 below itself: confidence is 1/sum
      number[bin] += 1
      sure[bin] += 1/sum
      hits[bin] += right[i]
    }
    const ece = number.reduce((all, m, b) => all + Math.abs(sure[b] - hits[b])/n, 0)
    return { number, sure, hits, ece, nll: nll/n }
  }

  function best() { // least NLL, which has one minimum, by thirds
    let [low, high] = [0.1, 5]
    while (high - low > 0.004) {
      const [a, b] = [low + (high - low)/3, high - (high - low)/3]
      if (measure(a).nll < measure(b).nll) high = b
      else low = a
    }
    return Math.round(50*(low + high))/100
  }

  const temperature = slider('Temperature', { min: 0.1, max: 5, step: 0.01 }, v => put(model, 'temperature', v))
  const fit = button('Least NLL', () => put(model, 'temperature', best()))
  const reset = button('As trained', () => put(model, 'temperature', 1))
  const numbers = figures('All predictions', { ece: 'ECE', nll: 'NLL', confidence: 'Mean confidence',
    accuracy: 'Accuracy' })
  const plot = chart({ title: 'Reliability', xlabel: 'confidence', ylabel: 'share that is right' })
  const spread = chart({ title: 'How sure', xlabel: 'confidence', ylabel: 'share of predictions' })
  const say = frame(el, 'Reliability', temperature.box, row(fit, reset), row(plot.box, spread.box, numbers.box),
    note(`Bars: the share that is right. Dashed boxes: the gap to the confidence. ${model.get('note')}`))
  const accuracy = right.filter(Boolean).length/n

  function gap(b, { number, sure, hits }) {
    const [one, other] = [hits[b]/number[b], sure[b]/number[b]].sort((x, y) => x - y)
    const box = plot.bar(b/bins, (b + 1)/bins, other, 'sr-gap'), base = plot.bar(0, 1, one, '')
    box.setAttribute('height', Math.max(Number(base.getAttribute('y')) - Number(box.getAttribute('y')), 0.5))
    return box
  }

  function draw() {
    const t = model.get('temperature'), now = measure(t), filled = [...now.number.keys()].filter(b => now.number[b])
    temperature.set(t)
    const confidence = now.sure.reduce((a, b) => a + b, 0)/n
    const share = b => now.hits[b]/now.number[b]
    const ece = fixed(now.ece, 4), nll = fixed(now.nll, 4)
    numbers.set({ ece, nll, confidence: fixed(confidence), accuracy: fixed(accuracy) })
    plot.draw(...filled.map(b => plot.bar(b/bins, (b + 1)/bins, share(b), 'sr-fill')),
      ...filled.map(b => gap(b, now)), plot.path([[0, 0], [1, 1]], 'sr-faint'))
    spread.draw(...filled.map(b => spread.bar(b/bins, (b + 1)/bins, now.number[b]/n, 'sr-fill')))
    plot.say(filled.map(b => `near ${fixed((b + 0.5)/bins, 2)} right ${fixed(share(b), 2)}`).join(', '))
    spread.say(`mean confidence ${fixed(confidence)}`)
    const side = confidence > accuracy ? 'too sure' : 'not sure enough'
    const by = fixed(Math.abs(confidence - accuracy))
    say(`Temperature ${fixed(t, 2)}: ECE ${ece}, NLL ${nll}; on the whole ${side} by ${by}.`)
  }
  return watch(model, ['temperature'], draw)
}

export default { render }
