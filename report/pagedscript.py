"""The script of paged tables: what paged.py writes is read once, and shown a page at a time."""

from __future__ import annotations

# Filtering makes a list of row numbers, sorting orders it, and only the rows of one page are ever in the document. Texts are compared
# as the command line does, by their letters' numbers; what is missing stands last in either direction.
PAGED = """
document.querySelectorAll('.paged').forEach(box => {
  const {columns, noun} = JSON.parse(box.querySelector('script').textContent);
  columns.filter(column => column.long).forEach(column => {
    column.values = column.values.map(one => one === null ? null : BigInt(one));
  });
  const find = name => box.querySelector(name), all = name => [...box.querySelectorAll(name)];
  const count = columns.length ? columns[0].values.length : 0;
  const isNumber = column => column.kind === 'number' || column.kind === 'share';
  const value = (column, row) => column.words ? column.words[column.values[row]] : column.values[row];
  const missing = word => word === null || word === '';
  const format = new Intl.NumberFormat('en', {maximumSignificantDigits: 4}), whole = new Intl.NumberFormat('en');
  const numeral = one => typeof one === 'bigint' || Number.isInteger(one) ? whole.format(one)
    : Math.abs(one) >= 1000 ? whole.format(Math.round(one)) : format.format(one);
  const words = (column, row) => {
    const one = value(column, row);
    if (missing(one)) return '\\u2013';
    if (column.kind === 'share') return (100 * one).toFixed(1) + ' %';
    return column.kind === 'number' ? numeral(one) : one;
  };
  const body = find('tbody'), heads = all('thead th'), status = find('[role=status]'), at = find('.at');
  let rows = [], page = 0, sorted = null, down = false, texts = null;

  function matches() {
    const search = find('.words').value.trim().toLowerCase();
    if (search && !texts) {
      const searched = columns.filter(column => column.kind === 'text');
      texts = Array.from({length: count}, (_, row) => searched.map(column => value(column, row)).join('\\n').toLowerCase());
    }
    const chosen = all('.choice').filter(one => !one.selectedOptions[0].dataset.all)
      .map(one => [columns[one.dataset.column], one.value]);
    const bound = find('.bound'), number = bound && bound.value !== '' ? columns[find('.column').value] : null;
    const limit = !number ? 0 : number.long && /^-?[0-9]+$/.test(bound.value) ? BigInt(bound.value)
      : Number(bound.value) / (number.kind === 'share' ? 100 : 1);
    const most = number && find('.sign').value === 'le';
    rows = [];
    for (let row = 0; row < count; row++) {
      if (search && !texts[row].includes(search)) continue;
      if (chosen.some(([column, word]) => value(column, row) !== word)) continue;
      if (number) {
        const one = number.values[row];
        if (one === null || (most ? one > limit : one < limit)) continue;
      }
      rows.push(row);
    }
  }
  function order() {
    if (sorted === null) return;
    const column = columns[sorted], sign = down ? -1 : 1;
    const known = rows.filter(row => !missing(value(column, row))), rest = rows.filter(row => missing(value(column, row)));
    const rank = isNumber(column) || !column.words ? column.values : ranks(column);
    known.sort((a, b) => sign * (rank[a] < rank[b] ? -1 : rank[a] > rank[b] ? 1 : 0) || a - b);
    rows = known.concat(rest);
  }
  function ranks(column) {
    const places = column.words.map((_, word) => word).sort((a, b) => column.words[a] < column.words[b] ? -1 : 1);
    const rank = [];
    places.forEach((word, place) => { rank[word] = place; });
    return column.values.map(word => rank[word]);
  }
  function show() {
    const size = Number(find('.rows').value), pages = Math.max(1, Math.ceil(rows.length / size));
    page = Math.min(Math.max(page, 0), pages - 1);
    const first = page * size, shown = rows.slice(first, first + size);
    body.replaceChildren(...shown.map(row => {
      const line = document.createElement('tr');
      columns.forEach((column, place) => {
        const cell = document.createElement(place ? 'td' : 'th');
        if (!place) cell.scope = 'row';
        if (isNumber(column)) cell.className = 'number';
        if (column.kind === 'picture' && column.values[row]) {
          const picture = new Image(48, 48);
          picture.alt = 'face of ' + value(columns[0], row);
          picture.src = column.values[row];
          cell.append(picture);
        } else cell.textContent = words(column, row);
        line.append(cell);
      });
      return line;
    }));
    at.value = page + 1;
    at.max = pages;
    find('.back').disabled = page === 0;
    find('.on').disabled = page === pages - 1;
    const range = rows.length ? 'Rows ' + whole.format(first + 1) + ' to ' + whole.format(first + shown.length) + ' of ' : 'No ';
    status.textContent = range + (rows.length ? whole.format(rows.length) + ' ' : '') + noun +
      (rows.length < count ? ' that match, of ' + whole.format(count) : '') + '; page ' + (page + 1) + ' of ' + whole.format(pages) +
      (sorted === null ? '' : '; sorted by ' + columns[sorted].name + (down ? ', highest first' : ', lowest first'));
  }
  function renew() { matches(); order(); page = 0; show(); }
  heads.forEach((head, place) => head.querySelector('button')?.addEventListener('click', () => {
    down = sorted === place && !down;
    sorted = place;
    heads.forEach(one => one.hasAttribute('aria-sort') && one.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    renew();
  }));
  let waiting = 0;
  box.addEventListener('input', event => {
    if (event.target === at) return;
    clearTimeout(waiting);
    waiting = setTimeout(renew, event.target.tagName === 'SELECT' ? 0 : 120);
  });
  at.addEventListener('change', () => { page = Number(at.value) - 1; show(); });
  find('.back').addEventListener('click', () => { page--; show(); });
  find('.on').addEventListener('click', () => { page++; show(); });
  find('.reset').addEventListener('click', () => {
    all('.controls input:not(.at)').forEach(one => { one.value = ''; });
    all('.choice').forEach(one => { one.selectedIndex = 0; });
    renew();
  });
  all('[hidden]').forEach(one => { one.hidden = false; });
  renew();
});
"""
