// Runs before the first paint, so that neither the language nor the theme flashes.
(function () {
  var root = document.documentElement;
  var stored = {};
  try {
    stored = JSON.parse(localStorage.getItem('noufal') || '{}');
  } catch (_) {
    stored = {};
  }
  var lang = stored.lang || (/^en\b/.test(navigator.language) ? 'en' : 'ar');
  root.lang = lang;
  root.dir = lang === 'ar' ? 'rtl' : 'ltr';
  if (stored.theme === 'light' || stored.theme === 'dark') root.dataset.theme = stored.theme;
})();
