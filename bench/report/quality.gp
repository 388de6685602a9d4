# How good paths were: a bar a row and series, with its least and greatest. A block a series: its name; then row, median,
# least, greatest. The last block: the rows' names. The caller also sets: n (series), rows, left (px), axis, title.
load "common.gp"
set lmargin at screen 1.0 * left / wd
set rmargin at screen 1 - 20.0 / wd
set tmargin at screen 1 - 52.0 / ht
set bmargin at screen 54.0 / ht
set label 1 title at screen 0.5, screen 1 - 14.0 / ht center font ",13"
set xrange [0:*]
set yrange [rows - 0.4:-0.6]
set xlabel axis
set ytics scale 0 font ",11"
set grid noytics
set bars 0.4
set key at screen 0.5, screen 1 - 30.0 / ht center top horizontal Left reverse samplen 2 font ",11"
thick = 0.72 / n
low(i) = -0.36 + thick * i
ground(i) = i == 0 ? 3 : 4
plot for [i=0:n - 1] data index i using (0):($1 + low(i)):(0):2:($1 + low(i)):($1 + low(i) + thick) with boxxyerror \
        fillstyle pattern ground(i) border lc rgb colour(i) lc rgb colour(i) title columnheader(1), \
    for [i=0:n - 1] data index i using 2:($1 + low(i) + thick / 2):3:4 with xerrorbars pt 7 ps 0.3 lw 1.2 \
        lc rgb "black" notitle, \
    data index n using (0):1:(""):ytic(2) with labels notitle
