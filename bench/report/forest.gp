# TCP minus UDP: a row a NAT pair. Blocks: row, points, lo, hi, filled; the rows' names. The caller also sets: rows, left
# (px), title.
load "common.gp"
set lmargin at screen 1.0 * left / wd
set rmargin at screen 1 - 20.0 / wd
set tmargin at screen 1 - 34.0 / ht
set bmargin at screen 54.0 / ht
set title title font ",13"
set xrange [-105:105]
set yrange [rows - 0.4:-0.6]
set xlabel "percentage points: UDP better (left), TCP better (right)"
set ytics scale 0 font ",11"
set xtics 50
set arrow 1 from 0, graph 0 to 0, graph 1 nohead lc rgb "black" lw 1
set bars 0.5
unset key
plot data index 1 using (0):1:(""):ytic(2) with labels notitle, \
    data index 0 using ($5 > 0.5 ? $2 : NaN):1:3:4 with xerrorbars pt 5 ps 0.5 lw 1.4 lc rgb "#0072b2" notitle, \
    data index 0 using ($5 > 0.5 ? NaN : $2):1:3:4 with xerrorbars pt 4 ps 0.5 lw 1.4 lc rgb "#0072b2" notitle
