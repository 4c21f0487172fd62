"""The script of every report page: sortable tables, and everything opened for printing."""

from __future__ import annotations

# Keys are compared as numbers where both are, else as text; what is missing stands last in either direction.
SCRIPT = """
(() => {
  const key = cell => cell.dataset.value ?? cell.textContent.trim();
  const missing = value => value === '' || value === '\\u2013';
  const collator = new Intl.Collator('en', {numeric: true});
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? collator.compare(a, b) : x - y;
  };
  function sortBy(table, column) {
    const heads = [...table.tHead.rows[0].cells], head = heads[column];
    const way = head.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending';
    heads.forEach(one => one.hasAttribute('aria-sort') && one.setAttribute('aria-sort', one === head ? way : 'none'));
    const rows = [...table.tBodies[0].rows], sign = way === 'ascending' ? 1 : -1;
    rows.map(row => [key(row.cells[column]), row])
      .sort(([a], [b]) => missing(a) || missing(b) ? missing(a) - missing(b) : sign * compare(a, b))
      .forEach(([, row]) => table.tBodies[0].append(row));
  }
  document.querySelectorAll('table.sortable').forEach(table => {
    [...table.tHead.rows[0].cells].forEach((head, column) =>
      head.querySelector('button')?.addEventListener('click', () => sortBy(table, column)));
  });
  addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(one => { one.open = true; }));
})();
"""
