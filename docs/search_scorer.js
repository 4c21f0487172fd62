// How the site's search orders pages of equal relevance: explanations of messages and terms first, the log and the list of modules last.
// `score` gets [page, title, anchor, description, score, file, kind]; the other numbers are Sphinx's own.
var Scorer = {
  pages: { concepts: 2, troubleshooting: 1, log: -11, modules: -11 },
  score: (result) => result[4] + (Scorer.pages[result[0]] || 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
