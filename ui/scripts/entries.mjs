// The two entries over one lib: where each is served and written, the messages it leaves to the other, the bytes of its first load.
export const entries = {
  erp: { base: '/', out: '../src/noufal/static', without: /^(console|traces|logs|errors|events|projections|audit)\./, budget: 60_000 },
  console: {
    base: '/console/',
    out: '../src/rakiza/console/static',
    without: /^(app|boq|column|conflict|history|import|item|layout|number|project|projects|report)\./,
    budget: 100_000,
  },
};
