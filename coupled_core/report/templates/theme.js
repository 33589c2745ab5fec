
const themes = ["auto", "light", "dark"];
const themeButton = document.getElementById("theme");
/* A page opened from a file may be denied storage; the theme then lasts until it is closed. */
const remember = (key, value) => { try { localStorage.setItem(key, value); return true; } catch { return false; } };
const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
const applyTheme = (theme) => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.querySelector("b").textContent = theme;
  themeButton.value = theme;
};
applyTheme(themes.includes(recall("coupled-theme")) ? recall("coupled-theme") : "auto");
themeButton.addEventListener("click", () => {
  const next = themes[(themes.indexOf(themeButton.value) + 1) % themes.length];
  applyTheme(next);
  remember("coupled-theme", next);
});
