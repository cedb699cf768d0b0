// The lab's page: it plays an experiment with a POST, reads its events as they arrive
// (text/event-stream), and draws them. Nothing here computes a result: the sentence is the
// server's.
'use strict';
(() => {
  const lab = document.getElementById('lab');
  if (!/^https?:$/.test(location.protocol)) { lab.querySelector('.lab-needs').hidden = false; return; }
  lab.querySelector('.lab-live').hidden = false;

  const make = (tag, className, text = '') => {
    const e = document.createElement(tag);
    e.className = className;
    e.textContent = text;
    return e;
  };

  // Tabs, as the ARIA practices have them: one is in the tab order, arrows move.
  const tabs = [...lab.querySelectorAll('[role=tab]')];
  const choose = (tab) => {
    for (const t of tabs) {
      t.setAttribute('aria-selected', String(t === tab));
      t.tabIndex = t === tab ? 0 : -1;
      document.getElementById(t.getAttribute('aria-controls')).hidden = t !== tab;
    }
  };
  for (const [i, tab] of tabs.entries()) {
    tab.addEventListener('click', () => { choose(tab); history.replaceState(null, '', '#' + tab.id); });
    tab.addEventListener('keydown', (e) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i + tabs.length - 1, Home: 0, End: tabs.length - 1 }[e.key];
      if (to === undefined) return;
      e.preventDefault();
      tabs[to % tabs.length].focus();
      choose(tabs[to % tabs.length]);
    });
  }
  const linked = tabs.find((t) => '#' + t.id === location.hash);
  if (linked) choose(linked);

  // A drawing of lanes: each has bars of one state after another, on one scale of time.
  class Lanes {
    constructor(figure, states, last) {
      Object.assign(this, { states, last, rows: new Map(), length: 500 });
      this.queue = make('div', 'lab-queue');
      this.body = make('div', '');
      this.end = make('span', '');
      const scale = make('div', 'lab-scale'), line = make('span', 'lab-track');
      line.append(make('span', '', '0'), this.end);
      scale.append(make('span', ''), line, make('span', ''));
      figure.append(this.queue, this.body, scale, key(states));
    }
    add(e) {
      if (!e.lane) return this.showQueue(e);
      let row = this.rows.get(e.lane);
      if (!row) {
        row = { spans: [], track: make('span', 'lab-track'), note: make('span', '') };
        const line = make('div', 'lab-lane');
        line.append(make('span', '', e.who), row.track, row.note);
        this.body.append(line);
        this.rows.set(e.lane, row);
      }
      const open = row.spans.at(-1);
      if (!open || open.state !== e.state) {
        if (open) open.end = e.ms;
        row.spans.push({ state: e.state, from: e.ms, bar: row.track.appendChild(make('i', 'lab-' + e.state)) });
      }
      const ms = Math.round(e.ms - row.spans[0].from);
      row.note.textContent = this.last.includes(e.state) ? `${e.state.replace('gave-up', 'gave up')}, ${ms} ms` : this.states[e.state].split(':')[0];
      if (e.count && e.count.syns > 1) row.note.textContent += ` · ${e.count.syns} SYNs`;
    }
    showQueue(e) {
      const taken = e.count.waiting || 0, places = e.count.places;
      this.queue.classList.toggle('lab-full', taken >= places);
      this.queue.replaceChildren(make('b', '', `${e.who}: ${e.what}`), ...Array.from({ length: Math.min(places, 60) }, (_, i) => make('i', i < taken ? 'lab-on' : '')));
    }
    draw(now, ended) {
      this.length = ended ? Math.max(20, 1.03 * now) : Math.max(this.length, now);
      this.end.textContent = Math.round(this.length) + ' ms';
      const percent = (ms) => (100 * ms / this.length) + '%';
      for (const { spans } of this.rows.values()) {
        for (const s of spans) {
          const end = this.last.includes(s.state) ? this.length : s.end ?? now;
          s.bar.style.left = percent(s.from);
          s.bar.style.width = percent(Math.max(0, (this.last.includes(s.state) ? Math.min(end, s.from + this.length / 80) : end) - s.from));
        }
      }
    }
  }

  const key = (states) => {
    const list = make('div', 'lab-key');
    for (const [state, means] of Object.entries(states)) {
      const entry = make('span', '');
      entry.append(make('i', 'lab-' + state), means);
      list.append(entry);
    }
    return list;
  };

  // Two bars: how many responses were whole, how many connections were reset.
  class Totals {
    constructor(figure, form) {
      this.of = Number(form.elements.clients.value);
      this.bars = { whole: 'whole', resets: 'reset' };
      for (const name in this.bars) {
        const line = make('div', 'lab-lane'), track = make('span', 'lab-track'), bar = make('i', 'lab-' + name), note = make('span', '', '0 of ' + this.of);
        track.append(bar);
        line.append(make('span', '', this.bars[name]), track, note);
        figure.append(line);
        this.bars[name] = { bar, note };
      }
    }
    add(e) {
      for (const name in this.bars) {
        const n = e.count[name] || 0;
        this.bars[name].bar.style.width = (100 * n / this.of) + '%';
        this.bars[name].note.textContent = `${n} of ${this.of}`;
      }
    }
    draw() {}
  }

  // A row of cells for each policy: its connections.
  class Cells {
    constructor(figure) {
      this.rows = new Map();
      this.body = make('div', '');
      figure.append(this.body, key({ leased: 'leased or being opened', kept: 'idle in the pool', idle: 'no connection' }));
      figure.querySelector('.lab-key .lab-leased').className = 'lab-running';
      figure.querySelector('.lab-key .lab-kept').className = 'lab-answered';
    }
    add(e) {
      let row = this.rows.get(e.lane);
      if (!row) {
        row = make('div', 'lab-queue');
        row.style.order = e.lane;
        this.rows.set(e.lane, row);
        this.body.replaceChildren(...[...this.rows].sort((a, b) => a[0] - b[0]).map((r) => r[1]));
      }
      const { leased = 0, idle = 0, places = 0, waiting = 0, dialled = 0, answered = 0, failed = 0 } = e.count;
      const state = e.state || row.dataset.state || '';
      row.dataset.state = state;
      row.replaceChildren(make('b', '', `${e.who}${state === 'paused' ? ' (backend paused)' : ''}: ${answered} answered, ${failed} failed, ${waiting} wait; ${dialled} connections opened`),
        ...Array.from({ length: places }, (_, i) => make('i', i < leased ? 'lab-leased' : i < leased + idle ? 'lab-kept' : '')));
      row.classList.toggle('lab-full', failed > 0);
    }
    draw() {}
  }

  const drawings = {
    close: (figure, form) => new Totals(figure, form),
    backlog: (figure) => new Lanes(figure, { connecting: 'SYN sent: no reply yet', 'in-queue': 'connected: waits for its response', answered: 'answered', 'gave-up': 'gave up' }, ['answered', 'gave-up']),
    pipeline: (figure) => new Lanes(figure, { waiting: 'sent: its handler has not begun', running: 'handler runs', finished: 'finished: not its turn', sent: 'response has arrived' }, ['sent']),
    pool: (figure) => new Cells(figure),
  };

  // read calls see for each event of the stream, and ends with it.
  async function read(response, see) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (text + value).split('\n\n');
      text = events.pop();
      for (const e of events) {
        const data = /^data: (.*)$/m.exec(e);
        if (data) see(/^event: (.*)$/m.exec(e)?.[1] ?? 'message', JSON.parse(data[1]));
      }
    }
  }

  // A browser may keep a page that the reader has left, with its connection (bfcache).
  let leave = () => {};
  window.addEventListener('pagehide', () => leave());

  const quote = (word) => /^[\w:=./-]+$/.test(word) ? word : `'${word}'`;

  for (const panel of lab.querySelectorAll('[data-experiment]')) {
    const name = panel.dataset.experiment, form = panel.querySelector('form');
    const $ = (selector) => panel.querySelector(selector);
    const sentence = $('.lab-sentence'), figure = $('.lab-figure'), list = $('.lab-events'), link = $('.lab-json'), stop = $('.lab-stop'), play = form.querySelector('[type=submit]');
    const settings = () => [...new FormData(form)].filter(([n]) => n !== 'said');

    form.addEventListener('input', () => {
      for (const e of form.querySelectorAll('input[type=range]')) e.parentNode.querySelector('output').value = e.value;
      $('.lab-commands code').textContent = ['go -C notes run ./lab/serve play ' + name, ...settings().map(([n, v]) => quote(n + '=' + v))].join(' ');
      $('.lab-parts').hidden = true; // they are those of the settings that the page began with, until a run has ended
    });

    const say = (text, wrong) => { sentence.textContent = text; sentence.classList.toggle('lab-wrong', Boolean(wrong)); };

    form.addEventListener('submit', async (submitted) => {
      submitted.preventDefault();
      const abort = new AbortController(), query = new URLSearchParams([['experiment', name], ...new FormData(form)]);
      panel.dataset.state = 'running';
      play.disabled = true;
      stop.disabled = false;
      stop.onclick = leave = () => abort.abort();
      link.hidden = true;
      figure.replaceChildren();
      list.replaceChildren();
      say('Your kernel plays …');
      const drawing = drawings[name](figure, form), began = performance.now();
      let last = 0, frame = 0;
      const animate = () => { drawing.draw(Math.max(last, performance.now() - began)); frame = requestAnimationFrame(animate); };
      animate();
      let result;
      try {
        const response = await fetch('lab/run?' + query, { method: 'POST', headers: { Lab: 'play' }, signal: abort.signal });
        if (!response.ok) throw new Error((await response.text()).trim());
        await read(response, (kind, data) => {
          if (kind === 'result') { result = data; return; }
          last = data.ms;
          drawing.add(data);
          list.append(make('li', '', `${data.ms.toFixed(1)} ms  ${data.who}: ${data.what}`));
        });
        if (!result) throw new Error('The server ended the stream before the result.');
        say(result.sentence, result.error);
        link.href = 'lab/result?id=' + result.id;
        link.hidden = false;
        $('.lab-commands code').textContent = result.command;
        $('.lab-parts code').textContent = (result.parts || []).join('\n');
        $('.lab-parts').hidden = !result.parts;
      } catch (error) {
        say(abort.signal.aborted ? 'You stopped it, and nothing of it is left.' : String(error.message), !abort.signal.aborted);
      }
      cancelAnimationFrame(frame);
      drawing.draw(last, true);
      play.disabled = false;
      stop.disabled = true;
      panel.dataset.state = 'ended';
    });
  }
})();
