// Any three bands as red, green and blue, or the normalized difference of two.
// Each band is one byte a pixel; 0 is no data.
async function planesOf(source, size) { // the bytes of a gray picture
  const picture = new Image()
  picture.src = source
  await picture.decode()
  const canvas = html('canvas', { width: picture.width, height: picture.height })
  const context = canvas.getContext('2d', { willReadFrequently: true })
  context.drawImage(picture, 0, 0)
  const rgba = context.getImageData(0, 0, picture.width, picture.height).data
  const plane = (_, b) => Uint8Array.from({ length: size }, (_, i) => rgba[4*(b*size + i)])
  return Array.from({ length: rgba.length/4/size }, plane)
}

function limitsOf(plane, [low, high]) { // the bytes at two percentiles of what was seen
  const number = new Array(256).fill(0)
  for (const byte of plane) number[byte] += 1
  number[0] = 0
  const total = number.reduce((a, b) => a + b, 0)
  return [low, high].map(share => {
    let sum = 0, byte = 0
    while (byte < 255 && (sum < share/100*total || !sum)) sum += number[++byte]
    return byte
  })
}

const ENDS = [[187, 102, 17], [250, 250, 250], [0, 114, 178]] // -1, 0 and 1 of an index
const ramp = value => ENDS[1].map((middle, k) => middle + Math.abs(value)*(ENDS[value < 0 ? 0 : 2][k] - middle))

async function render({ model, el }) {
  const [width, height] = model.get('size'), names = model.get('names')
  const lows = model.get('lows'), highs = model.get('highs')
  const indices = model.get('indices'), options = names.map((name, b) => [b, name])
  const colors = ['Red', 'Green', 'Blue'].map((color, k) => select(color, options,
    v => put(model, 'bands', model.get('bands').map((old, i) => i === k ? Number(v) : old))))
  const stretched = (k, v) => put(model, 'stretch', model.get('stretch').map((old, i) => i === k ? v : old))
  const percent = text => ({ ...text, step: 0.5, text: v => `${v} %` })
  const dark = slider('Black below', percent({ min: 0, max: 49 }), v => stretched(0, v))
  const light = slider('Full above', percent({ min: 51, max: 100 }), v => stretched(1, v))
  const index = select('Index', [['', 'none: show the colors'], ...Object.entries(indices).map(([name, [a, b]]) =>
    [name, `${name.toUpperCase()}: ${names[a]}, ${names[b]}`])], v => put(model, 'index', v))
  const canvas = html('canvas', { width, height, role: 'img' }), context = canvas.getContext('2d')
  const css = ENDS.map(color => `rgb(${color})`).join(', ')
  const legend = html('div', {},
    html('div', { class: 'sr-ramp', style: `background: linear-gradient(to right, ${css})` }),
    html('div', { class: 'sr-ends' }, ...['-1', '0', '1'].map(text => html('span', {}, text))))
  const numbers = figures('What is shown', { mean: 'Mean of the index', share: 'Share above 0' })
  const controls = html('div', { class: 'sr-controls' }, ...colors.map(c => c.box), dark.box, light.box, index.box,
    legend, numbers.box)
  const say = frame(el, 'Bands', row(canvas, controls), note(model.get('note')))
  const planes = await planesOf(model.get('picture'), width*height)
  const value = (b, byte) => lows[b] + (byte - 1)/254*(highs[b] - lows[b])
  const pixels = context.createImageData(width, height)

  function paint(i, color) {
    for (let k = 0; k < 3; k++) pixels.data[4*i + k] = color[k]
    pixels.data[4*i + 3] = 255
  }

  function mix([r, g, b]) {
    const parts = [r, g, b].map(k => [planes[k], ...limitsOf(planes[k], model.get('stretch'))])
    for (let i = 0; i < width*height; i++) {
      const lost = parts.some(([plane]) => !plane[i])
      const bright = ([plane, low, high]) => 255*clamp((plane[i] - low)/Math.max(high - low, 1), 0, 1)
      paint(i, lost ? [128, 128, 128] : parts.map(bright))
    }
    numbers.set({ mean: '–', share: '–' })
    return `red ${names[r]}, green ${names[g]}, blue ${names[b]}`
  }

  function difference(name) {
    const [a, b] = indices[name]
    let [sum, up, seen] = [0, 0, 0]
    for (let i = 0; i < width*height; i++) {
      const [one, other] = [value(a, planes[a][i]), value(b, planes[b][i])], index = (one - other)/(one + other)
      const lost = !planes[a][i] || !planes[b][i] || !Number.isFinite(index)
      paint(i, lost ? [128, 128, 128] : ramp(clamp(index, -1, 1)))
      if (lost) continue
      sum += index
      up += index > 0
      seen += 1
    }
    numbers.set({ mean: fixed(ratio(sum, seen)), share: fixed(ratio(up, seen)) })
    return `${name.toUpperCase()} of ${names[a]} and ${names[b]}, mean ${fixed(ratio(sum, seen))}, ` +
      `above 0 in ${fixed(100*ratio(up, seen), 1)} % of the pixels`
  }

  function draw() {
    const bands = model.get('bands'), name = model.get('index')
    colors.forEach((color, k) => color.set(bands[k]))
    dark.set(model.get('stretch')[0])
    light.set(model.get('stretch')[1])
    index.set(name)
    legend.hidden = numbers.box.hidden = !name
    const text = name ? difference(name) : mix(bands)
    context.putImageData(pixels, 0, 0)
    canvas.setAttribute('aria-label', text)
    say(`Shown: ${text}.`)
  }
  return watch(model, ['bands', 'stretch', 'index'], draw)
}

export default { render }
