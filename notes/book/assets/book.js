// What the pages can do beyond being read: keys, copy buttons, steps that are ticked
// off, search. Nothing here is needed to read them.
(() => {
  'use strict'
  const $ = (query, from = document) => from.querySelector(query)
  const all = (query, from = document) => [...from.querySelectorAll(query)]
  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties)
    node.append(...children)
    return node
  }

  // Copy: of a console block the commands alone.
  const copyable = pre => pre.classList.contains('console')
    ? all('b', pre).map(command => command.textContent).join('\n') + '\n'
    : $('code', pre).textContent
  for (const pre of all('main pre')) {
    const button = make('button', { className: 'copy', type: 'button', textContent: 'copy' })
    button.onclick = async () => {
      let said = 'copied'
      try { await navigator.clipboard.writeText(copyable(pre)) } catch { said = 'not allowed' }
      button.textContent = said
      setTimeout(() => { button.textContent = 'copy' }, 1500)
    }
    pre.append(button)
  }

  // Steps: a tick for each, which this browser remembers.
  const memory = {
    has: step => { try { return localStorage.getItem('built ' + step) !== null } catch { return false } },
    set: (step, built) => {
      try { built ? localStorage.setItem('built ' + step, '1') : localStorage.removeItem('built ' + step) } catch { /* private window */ }
    },
  }
  const showSteps = () => {
    all('#the-contents a[data-step]').forEach(a => a.classList.toggle('done', memory.has(a.dataset.step)))
    for (const chapter of all('#the-contents .chapter')) {
      const steps = chapter.dataset.steps.split(' '), built = steps.filter(memory.has).length
      $('.count', chapter)?.remove()
      if (built) chapter.append(make('span', { className: 'count', textContent: ` ${built} of ${steps.length}` }))
    }
  }
  for (const heading of all('h2[data-step]')) {
    const step = heading.dataset.step
    const box = make('input', { type: 'checkbox', checked: memory.has(step) })
    box.onchange = () => { memory.set(step, box.checked); showSteps() }
    heading.after(make('label', { className: 'built' }, box, `I have built step ${step}`))
  }
  showSteps()
  addEventListener('storage', showSteps)

  // The section that is being read, in the list of contents.
  const entries = new Map(all('#the-contents details[open] a').map(a => [a.hash.slice(1), a]))
  let here
  const watch = new IntersectionObserver(seen => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting || !entries.has(target.id)) continue
      here?.classList.remove('here')
      here = entries.get(target.id)
      here.classList.add('here')
    }
  }, { rootMargin: '0px 0px -70% 0px' })
  all('main h2[id]').forEach(heading => watch.observe(heading))

  // Folded answers: open for a link into them, and for print.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)))
    const fold = target && target.closest('main details')
    if (fold && !fold.open) { fold.open = true; target.scrollIntoView() }
  }
  addEventListener('hashchange', unfold)
  unfold()
  addEventListener('beforeprint', () => all('main details').forEach(fold => { fold.open = true }))

  // Keys: left and right between pages, / for the search. A block that can scroll
  // sideways keeps its arrow keys.
  addEventListener('keydown', event => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return
    const at = document.activeElement
    if (at.closest('input, textarea, select, [contenteditable], form')) return
    if (event.key === '/') {
      event.preventDefault()
      $('header input').focus()
    } else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
      if (at.scrollWidth > at.clientWidth && at !== document.body) return
      $(event.key === 'ArrowLeft' ? 'a[rel=prev]' : 'a[rel=next]')?.click()
    }
  })

  // Search. The index is fetched when the reader is about to search.
  const form = $('header form'), input = $('input', form), list = $('ol', form), found = $('#places-found')
  form.hidden = false
  form.onsubmit = event => { event.preventDefault(); $('a', list)?.click() }
  const script = name => new Promise((done, failed) => {
    document.head.append(make('script', { src: document.body.dataset.up + name, onload: done, onerror: failed }))
  })
  let index
  const load = () => index ??= Promise.all([script('minisearch.js'), script('search-index.js')]).then(() => {
    const engine = new MiniSearch({
      fields: ['title', 'text'], storeFields: ['to', 'page', 'title', 'text'],
      searchOptions: { boost: { title: 3 }, prefix: true, combineWith: 'AND', fuzzy: term => term.length > 5 ? 0.15 : false },
    })
    engine.addAll(window.bookPassages)
    return engine
  })
  input.onfocus = load
  const excerpt = (text, words) => {
    const escaped = words.map(word => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    const any = new RegExp(`(${escaped.join('|')})`, 'i')
    const at = Math.max(0, text.search(any) - 50)
    let piece = text.slice(at, at + 160)
    if (at) piece = piece.replace(/^\S*\s/, '… ')
    if (at + 160 < text.length) piece = piece.replace(/\s\S*$/, ' …')
    return piece.split(new RegExp(any, 'gi')).map((part, i) => i % 2 ? make('mark', {}, part) : part)
  }
  let asked = 0
  input.oninput = async () => {
    const turn = ++asked, query = input.value.trim()
    const engine = await load()
    if (turn !== asked) return
    const results = query.length < 2 ? [] : engine.search(query).slice(0, 12)
    list.replaceChildren(...results.map(({ to, page, title, text, terms }) => make('li', {},
      make('a', { href: document.body.dataset.up + to }, make('b', {}, title),
        title === page ? '' : make('small', {}, page), make('small', {}, ...excerpt(text, terms))))))
    found.textContent = query.length < 2 ? '' : `${results.length || 'no'} places`
  }
  const close = () => { asked++; list.replaceChildren(); found.textContent = '' }
  form.addEventListener('keydown', event => {
    const links = all('a', list), at = links.indexOf(document.activeElement)
    if (event.key === 'Escape') { input.value = ''; close(); input.blur() }
    else if (event.key === 'ArrowDown' && links.length) links[Math.min(at + 1, links.length - 1)].focus()
    else if (event.key === 'ArrowUp' && at >= 0) (links[at - 1] ?? input).focus()
    else return
    event.preventDefault()
  })
  form.addEventListener('focusout', event => { if (!form.contains(event.relatedTarget)) setTimeout(() => { if (!form.contains(document.activeElement)) close() }, 150) })
  list.onclick = close
  addEventListener('hashchange', close)
})()
