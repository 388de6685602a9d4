# NAT a down and NAT b across. Blocks: cells (x, y, value, text, ground: 0 light, 1 dark, 2 light and nothing to see; framed), names across, names down.
# The caller also sets: kind (success: percent; ms: a time; points: a difference in percentage points), lo, hi (of the
# scale), cols, rows, bar (whether there is room for a scale), text (px), left, bottom (px), title.
load "common.gp"
# Cividis (Nunez, Anderton, Renslow 2018): even steps of luminance, and the same for colour-blind readers.
set palette defined (0 "#00224e", 0.125 "#1a386f", 0.25 "#434e6c", 0.375 "#61656f", 0.5 "#7d7c78", \
    0.625 "#9b9476", 0.75 "#bcae6c", 0.875 "#dfcb57", 1 "#fee838")
set cbrange [lo:hi]
set cbtics scale 0 font ",10"
set cblabel font ",10" offset -1, 0
if (kind eq "success") set cbtics (0, 25, 50, 75, 100); set cblabel "success, %"
if (kind eq "ms") set palette negative; set logscale cb; set cblabel "ms"; \
    set cbtics (1, 2, 5, 10, 20, 50, 100, 200, 500, "1 s" 1000, "2 s" 2000, "5 s" 5000, "10 s" 10000, "20 s" 20000, "60 s" 60000)
# Orange to purple (Brewer's PuOr): safe for colour-blind readers. In black and white the sign tells the two sides apart.
if (kind eq "points") set palette defined (0 "#b35806", 0.2 "#e08214", 0.35 "#fdb863", 0.5 "#f7f7f7", 0.65 "#b2abd2", 0.8 "#8073ac", 1 "#542788"); \
    set cbtics (-100, -50, 0, 50, 100); set cblabel "UDP better (-), TCP better (+)"
set lmargin at screen 1.0 * left / wd
set rmargin at screen 1 - 64.0 / wd
set bmargin at screen 1.0 * bottom / ht
set tmargin at screen 1 - 34.0 / ht
set xrange [-0.5:cols - 0.5]
set yrange [rows - 0.5:-0.5]
names = sprintf(",%d", text < 12 ? 11 : 12)
numbers = sprintf(",%d", text)
set xtics rotate by 90 right scale 0 font names
set ytics scale 0 font names
unset grid
set title title font ",13" offset 0, -0.5
# Which side is which, in the corner that the names leave.
set label 1 "down: NAT a" at screen 6.0 / wd, screen 24.0 / ht left font ",10" textcolor rgb "#808080"
set label 2 "across: NAT b" at screen 6.0 / wd, screen 10.0 / ht left font ",10" textcolor rgb "#808080"
if (bar) set colorbox user origin screen 1 - 52.0 / wd, screen 1.0 * bottom / ht size screen 10.0 / wd, screen 1 - (bottom + 34.0) / ht
if (!bar) unset colorbox
set style fill solid 1 border lc rgb "#ffffff"
# On light ground, on dark ground, and what is nothing.
ink(dark) = dark > 1.5 ? 0x8a8a8a : dark > 0.5 ? 0xfefefe : 0x010101
plot data index 1 using 1:(0):(""):xtic(2) with labels notitle, \
    data index 2 using (0):1:(""):ytic(2) with labels notitle, \
    data index 0 using 1:2:(0.5):(0.5):3 with boxxyerror fillcolor palette notitle, \
    data index 0 using ($6 > 0.5 ? $1 : NaN):2:(0.46):(0.44) with boxxyerror fillstyle empty lc rgb "#010101" lw 1.8 notitle, \
    data index 0 using 1:2:4:(ink($5)) with labels font numbers tc rgb variable notitle
