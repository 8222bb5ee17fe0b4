// The two entries over one lib: where each is served and written, and the bytes of its first load.
export const entries = {
  erp: { base: '/', out: '../src/noufal/static', budget: 60_000 },
  console: { base: '/console/', out: '../src/rakiza/console/static', budget: 90_000 },
};
